## Logarithms, what is made of them, and powers. The rules are in functions.cl.mako.
<%!
    from clreduce.codegen.mathematics import bits, horner, lit, magnitude, upper, with_sign
%>

<%def name="_log(suffix, T, I, dtype, kind)">
<%
    plus_one, base = kind == "log1p", {"log2": 2, "log10": 10}.get(kind)
    U = "u" + I
    if dtype == "float":
        tiny, scale, scale_bits, field = 2.0**-126, 2.0**23, 23, 23
        one_bits, root_half, mantissa = "0x3f800000", "0x3f3504f3", "0x007fffff"
        # log(1 + f) = f - f^2 / 2 + f^3 P(f), sqrt(1/2) <= 1 + f <= sqrt(2): relative error 3.3e-8
        c = [0.3333385808765578, -0.250017468691571, 0.199653973645493, -0.1656563525126912, 0.1487696793149569,
             -0.1435020332707341, 0.0891786005292]
        magic, magic_bits, bias = 2.0**23, "0x4b000000", 127
        ln2_hi, ln2_lo = "0.693359375f", "-2.12194440e-4f"
        lg2_hi, lg2_lo = "0.301025390625f", "4.605039e-06f"
    else:
        tiny, scale, scale_bits, field = 2.0**-1022, 2.0**52, 52, 52
        one_bits, root_half, mantissa = "0x3ff0000000000000UL", "0x3fe6a09e667f3bcdUL", "0x000fffffffffffffUL"
        # log(1 + f) = 2 s + s z R(z), s = f / (2 + f), z = s^2 <= 0.0295: relative error 2.5e-18
        c = [0.6666666666666734415, 0.3999999999941466963, 0.2857142874238822104, 0.2222219857320958445,
             0.1818356432174184541, 0.1531405071909473709, 0.1479594764858223053]
        magic, magic_bits, bias = 2.0**52, "0x4330000000000000UL", 1023
        ln2_hi, ln2_lo = "6.93147180369123816490e-01", "1.90821492927058770002e-10"
        lg2_hi, lg2_lo = "0.301029995663157", "8.241712586023572e-13"
    if base:  # 1 / ln(base), and what is missing from it
        inverse = lit({2: 1.4426950408889634, 10: 0.4342944819032518}[base], dtype)
        rest = {
            ("log2", "float"): "1.925963e-8f", ("log2", "double"): "2.0355273740931033e-17",
            ("log10", "float"): "-1.0103050e-8f", ("log10", "double"): "1.0983196502167651e-17",
        }[kind, dtype]
    one, pole, correction = lit(1, dtype), lit(-1 if plus_one else 0, dtype), " + c" if plus_one else ""
%>\
% if plus_one:
// log(1 + x) = log y + c, y = 1 + x rounded and c = what that lost / y; where e = 0, f is x itself. Error: float
// 1.5 ulp (1.23 seen), double 1 ulp (0.83 seen). -inf at -1, nan below.
static inline ${T} log1p_${suffix}(${T} x) {
    ${T} y = x + ${one};
    ${T} c = (x < (${T})(${one}) ? x - (y - ${one}) : ${one} - (y - x)) / y;
% elif base:
// ${kind} x = e * ${kind} 2 + log(1 + f) / ln ${base}, as log${"; exact for powers of 2" if base == 2 else ""}.
// Error: 2.5 ulp (2.1 seen).
static inline ${T} ${kind}_${suffix}(${T} x) {
% else:
// log x = e * ln 2 + log(1 + f), 1 + f in [sqrt(1/2), sqrt(2)]. Error: float 1.5 ulp (1.25 seen),
// double 1 ulp (0.80 seen); subnormals included. log(0) = -inf, log(x < 0) = nan.
static inline ${T} log_${suffix}(${T} x) {
% endif
% if not plus_one:
    ${I} small = x < (${T})(${lit(tiny, dtype)});
    ${T} y = small ? x * ${lit(scale, dtype)} : x;
% endif
    ${U} u = as_${U}(y) + (${U})(${one_bits} - ${root_half});
    ${T} e = as_${T}((u >> ${field}) | (${U})(${magic_bits}));
% if plus_one:
    e = e - ${lit(magic + bias, dtype)};
% else:
    e = e - (small ? (${T})(${lit(magic + bias + scale_bits, dtype)}) : (${T})(${lit(magic + bias, dtype)}));
% endif
    ${T} f = as_${T}((u & (${U})(${mantissa})) + (${U})(${root_half})) - ${one};
% if plus_one:
    f = e == (${T})(${lit(0, dtype)}) ? x : f;
    c = e == (${T})(${lit(0, dtype)}) ? (${T})(${lit(0, dtype)}) : c;
% endif
% if dtype == "float":
    ${T} z = f * f;
    ${T} p = ${horner(c, "f", dtype)};
% if base:
    p = p * (f * z) - 0.5f * z;
    y = f + p;
% else:
    p = p * (f * z) + (e * ${ln2_lo}${correction});
    p = p - 0.5f * z;
    y = (f + p) + e * ${ln2_hi};
% endif
% else:
    ${T} s = f / (f + 2.0);
    ${T} z = s * s;
    ${T} h = 0.5 * f * f;
    ${T} p = ${horner(c, "z", dtype)};
% if base:
    y = f - (h - s * (h + p * z));
% else:
    y = e * ${ln2_hi} - ((h - (s * (h + p * z) + (e * ${ln2_lo}${correction}))) - f);
% endif
% endif
% if base == 2:
    y = (y * ${inverse} + y * ${rest}) + e;
% elif base == 10:
    y = (y * ${inverse} + (y * ${rest} + e * ${lg2_lo})) + e * ${lg2_hi};
% endif
    y = x < (${T})(INFINITY) ? y : x;  // inf and nan
    y = x < (${T})(${pole}) ? (${T})(NAN) : y;
    return x == (${T})(${pole}) ? -(${T})(INFINITY) : y;
}
</%def>

<%def name="log(suffix, T, I, dtype)">${_log(suffix, T, I, dtype, "log")}</%def>
<%def name="log1p(suffix, T, I, dtype)">${_log(suffix, T, I, dtype, "log1p")}</%def>
<%def name="log2(suffix, T, I, dtype)">${_log(suffix, T, I, dtype, "log2")}</%def>
<%def name="log10(suffix, T, I, dtype)">${_log(suffix, T, I, dtype, "log10")}</%def>

<%def name="pow(suffix, T, I, dtype)">
<%
    U = "u" + I
    facts = bits(dtype)
    field, mantissa = facts.mantissa, hex(2**facts.mantissa - 1) + ("" if dtype == "float" else "UL")
    if dtype == "float":
        tiny, scale, largest = 2.0**-126, 2.0**23, 2.0**40
        one_bits, root_half = "0x3f800000", "0x3f3504f3"
        whole_bits, bias = "0x4b000000", 127
        # (3/2 log((1+s)/(1-s)) / s - 3 - z) / z^2, z = s^2 <= 0.0295: error 1.4e-11 of 3 + z + ...
        c = [0.6000013947486877, 0.42828336358070374, 0.3496890962123871]
        # (2^r - 1) / r, |r| <= 1/2: error 1.3e-8 of 2^r
        d = [0.6931471824645996, 0.24022594094276428, 0.055503662675619125, 0.009625444188714027,
             0.0013387935468927026, 0.0001333278341917321]
        # 2 / (3 ln 2), its upper half and the rest
        log2_hi, log2_lo = "0.961669921875f", "0.00012677205086220056f"
    else:
        tiny, scale, largest = 2.0**-1022, 2.0**52, 2.0**70
        one_bits, root_half = "0x3ff0000000000000UL", "0x3fe6a09e667f3bcdUL"
        whole_bits, bias = "0x4330000000000000UL", 1023
        # the same: error 1.8e-20
        c = [0.600000000000006, 0.42857142856299085, 0.3333333359811145, 0.2727269090902668, 0.2307953066791538,
             0.19898261195307082, 0.19681711070926602]
        # the same: error 6.5e-18
        d = [0.6931471805599453, 0.24022650695910172, 0.055504108664824574, 0.009618129107577079,
             0.0013333558145567277, 0.0001540353047884527, 1.5252734738207259e-05, 1.3215424486828248e-06,
             1.0177656004773349e-07, 7.075616219233238e-09, 4.519321745084772e-10]
        log2_hi, log2_lo = "0.9617966860532761", "7.872699542894897e-09"
    magic = 1.5 * 2**field + bias - 1
    zero, one, three, log2_whole = (lit(value, dtype) for value in (0, 1, 3, 0.961796693925975554))
    whole, twice_whole = facts.whole, lit(2 ** (field + 1), dtype)
%>\
// x^y = 2^(y log2 |x|), with the sign of x where y is odd. log2 |x| = e + 2/(3 ln 2) s (3 + s^2 + ...), with s =
// (m - 1) / (m + 1) and m in [sqrt(1/2), sqrt(2)], and its product with y are kept in two numbers each. The upper one
// has half of the bits, so that products are exact, with FMA and without. Error: float 1.5 ulp (1.07 seen), double
// 2 ulp (1.70 seen). Special values are those of C, but results below 2^-125.5 (double: 2^-1021.5) are 0, as in exp.
static inline ${T} pow_${suffix}(${T} x, ${T} y) {
    ${T} ax = ${magnitude("x", T, I, dtype)};
    ${T} ay = ${magnitude("y", T, I, dtype)};
    ${I} small = ax < (${T})(${lit(tiny, dtype)});
    ${T} m = small ? ax * ${lit(scale, dtype)} : ax;
    ${U} u = as_${U}(m) + (${U})(${one_bits} - ${root_half});
    ${T} e = as_${T}((u >> ${field}) | (${U})(${whole_bits}));
    e = e - (small ? (${T})(${lit(2**field + bias + field, dtype)}) : (${T})(${lit(2**field + bias, dtype)}));
    m = as_${T}((u & (${U})(${mantissa})) + (${U})(${root_half}));
    // s = sh + sl; the divisor is dh + dl
    ${T} f = m - ${one};
    ${T} dh = m + ${one};
    ${T} inverse = ${one} / dh;
    ${T} s = f * inverse;
    ${T} sh = ${upper("s", T, I, dtype)};
    dh = ${upper("dh", T, I, dtype)};
    ${T} dl = m - (dh - ${one});
    ${T} sl = inverse * ((f - sh * dh) - sh * dl);
    // th + tl = 3 + s^2 + ...
    ${T} z = s * s;
    ${T} w = sh * sh;
    ${T} p = ${horner(c, "z", dtype)};
    p = (z * z) * p + sl * (sh + s);
    ${T} th = ${three} + w + p;
    th = ${upper("th", T, I, dtype)};
    ${T} tl = p - ((th - ${three}) - w);
    // ph + pl = s (th + tl)
    ${T} v = sl * th + tl * s;
    ${T} sum = sh * th + v;
    ${T} ph = ${upper("sum", T, I, dtype)};
    ${T} pl = v - (ph - sh * th);
    // lh + ll = log2 |x|
    v = pl * ${log2_whole} + ph * ${log2_lo};
    sum = (ph * ${log2_hi} + v) + e;
    ${T} lh = ${upper("sum", T, I, dtype)};
    ${T} ll = v - ((lh - e) - ph * ${log2_hi});
    // zh + zl = y log2 |x|, y so limited that nothing overflows before the result does
    ${T} b = y < (${T})(-${lit(largest, dtype)}) ? (${T})(-${lit(largest, dtype)}) : y;  // nan stays
    b = b > (${T})(${lit(largest, dtype)}) ? (${T})(${lit(largest, dtype)}) : b;
    ${T} bh = ${upper("b", T, I, dtype)};
    ${T} zh = bh * lh;
    ${T} zl = (b - bh) * lh + b * ll;
    ${T} far = ax == (${T})(${zero}) ? -(${T})(INFINITY) : ax;
    ${I} ordinary = (ax > (${T})(${zero})) & (ax < (${T})(INFINITY));
    zh = ordinary ? zh : b * far;
    // 2^(zh + zl) = 2^(n-1) * 2 2^r
    z = zh + zl;
    ${T} t = z + ${lit(magic, dtype)};
    ${T} n = t - ${lit(magic, dtype)};
    ${T} r = (zh - n) + zl;
    p = ${horner([2 * v for v in d], "r", dtype)};
    p = (${lit(2, dtype)} + r * p) * as_${T}(as_${U}(t) << ${field});
    p = z > (${T})(${lit(bias + 2, dtype)}) ? (${T})(INFINITY) : p;
    p = z < (${T})(${lit(1 - bias, dtype)}) ? (${T})(${zero}) : p;
    // y in the low bits if it is an integer and not above 2^${field + 1}, where all are even
    ${T} low_bits = ay < (${T})(${whole}) ? ay + ${whole} : ay;
    ${I} fractional = (ay < (${T})(${whole})) & (low_bits - ${whole} != ay);
    low_bits = (fractional | (ay >= (${T})(${twice_whole}))) ? (${T})(${zero}) : low_bits;
    p = ((x < (${T})(${zero})) & (x > -(${T})(INFINITY)) & fractional) ? (${T})(NAN) : p;
    p = as_${T}(as_${U}(p) ^ ((as_${U}(low_bits) << ${facts.bits - 1}) & as_${U}(x) & (${U})(${facts.sign})));
    return ((x == (${T})(${one})) | (y == (${T})(${zero}))) ? (${T})(${one}) : p;
}
</%def>

<%def name="softplus(suffix, T, I, dtype)">\
// log(1 + e^x) = max(x, 0) + log1p(e^-|x|). Error: 3.5 ulp (2.8 seen); 0 where exp is.
static inline ${T} softplus_${suffix}(${T} x) {
    ${T} top = x > (${T})(${lit(0, dtype)}) ? x : (${T})(${lit(0, dtype)});
    return top + log1p_${suffix}(exp_${suffix}(-${magnitude("x", T, I, dtype)}));
}
</%def>

<%def name="logaddexp(suffix, T, I, dtype)">\
// log(e^x + e^y) = max(x, y) + log1p(e^-|x - y|), e^-|x - y| with what the difference lost; equal infinities are their
// own result. Error: float 3.5 ulp (3.2 seen), double 2.5 ulp (2.0 seen) of the largest of the result and the
// two addends, which cancel where the result is near 0. e^-|x - y| is 0 where exp is.
static inline ${T} logaddexp_${suffix}(${T} x, ${T} y) {
    ${T} top = x > y ? x : y;
    ${T} low = x > y ? y : x;
    ${T} gap = low - top;
    ${T} back = gap - low;
    ${T} lost = (low - (gap - back)) - (top + back);
    ${I} finite = gap > -(${T})(INFINITY);
    gap = low == top ? (${T})(${lit(0, dtype)}) : gap;  // nan stays
    ${T} ratio = exp_${suffix}(gap);
    ratio = finite ? ratio + ratio * lost : ratio;
    return top + log1p_${suffix}(ratio);
}
</%def>

<%def name="asinh(suffix, T, I, dtype)">
<% one, large = lit(1, dtype), lit(2**60, dtype) %>\
// asinh x = log1p(|x| + x^2 / (1 + sqrt(1 + x^2))) with the sign of x; from 2^60 on log |x| + ln 2. Error: 3 ulp
// (1.8 seen).
static inline ${T} asinh_${suffix}(${T} x) {
    ${T} a = ${magnitude("x", T, I, dtype)};
    ${I} big = a > (${T})(${large});
    ${T} u = a * a;
    ${T} z = a + u / (${one} + sqrt(${one} + u));
    ${T} y = log1p_${suffix}(big ? a : z);
    y = big ? y + ${lit(0.6931471805599453, dtype)} : y;
    return ${with_sign("y", "x", T, I, dtype)};
}
</%def>

<%def name="acosh(suffix, T, I, dtype)">
<% one, large = lit(1, dtype), lit(2**60, dtype) %>\
// acosh x = log1p(t + sqrt(t (t + 2))), t = x - 1; from 2^60 on log x + ln 2. Error: 3 ulp (2.5 seen). nan below 1.
static inline ${T} acosh_${suffix}(${T} x) {
    ${I} big = x > (${T})(${large});
    ${T} t = x < (${T})(${one}) ? (${T})(NAN) : x - ${one};
    ${T} z = t + sqrt(t * (t + ${lit(2, dtype)}));
    ${T} y = log1p_${suffix}(big ? x : z);
    return big ? y + ${lit(0.6931471805599453, dtype)} : y;
}
</%def>

<%def name="atanh(suffix, T, I, dtype)">
<% half, one = lit(0.5, dtype), lit(1, dtype) %>\
// atanh x = log1p(2 |x| / (1 - |x|)) / 2 with the sign of x. Error: 3 ulp (1.7 seen). inf at 1, nan beyond.
static inline ${T} atanh_${suffix}(${T} x) {
    ${T} a = ${magnitude("x", T, I, dtype)};
    ${T} twice = a + a;
    ${T} z = twice / (${one} - a);
    z = a < (${T})(${half}) ? twice + a * z : z;
    ${T} y = ${half} * log1p_${suffix}(z);
    return ${with_sign("y", "x", T, I, dtype)};
}
</%def>
