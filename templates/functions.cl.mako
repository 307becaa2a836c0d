<%doc>
Own mathematics. Why not the built-ins: on PoCL a call to a built-in clobbers all vector registers, so that every
accumulator is spilled around it; these are short enough to be inlined.

One def per function, called by prelude.cl.mako as def(suffix, T, I, dtype): it writes `T NAME_suffix(T x)`, or
`T NAME_suffix(T x, T y)`.
  suffix  "v" (a lane vector) or "s" (one scalar)
  T, I    OpenCL types: T as float16 or double; I the integer type just as wide (int16, long)
  dtype   "float" or "double"

Rules of this file
- No fma(), rint(), ldexp() ...: calls, on some drivers even fabs() and floor(). Write a * b + c; -cl-mad-enable makes
  it one instruction.
- Rounding to an integer is adding and subtracting MAGIC = 1.5 * 2^23 (1.5 * 2^52), after which the integer sits in the
  low mantissa bits. -cl-fast-relaxed-math would fold that away: kernels must not be built with it.
- Text is the same for scalars and vectors: selection by ?:, whose constants are cast to T.
- No arithmetic right shift and no long <-> double conversion: AVX2 has neither.
- A sign is moved as a bit, by ^ and |; -0 counts as negative.
- Every coefficient comes with its interval and its error as it is written. They are minimax fits, made with the Remez
  algorithm: leading coefficients are rounded first and the others fitted again. tests/test_prelude.py asserts the
  stated bounds.
Bounds are in ulp (units in the last place) of the correctly rounded result, where a * b + c is one FMA; "seen" is the
largest error met (float exp: over all floats). Without FMA exp may err by 0.5 ulp more, the others keep their bounds.
expm1, log1p and sin make 0 of -0.
</%doc>

<%!
    from types import SimpleNamespace


    def lit(value, dtype):
        """A number as a literal of dtype."""
        return repr(float(value)) + ("f" if dtype == "float" else "")


    def horner(coefficients, variable, dtype):
        """c0 + v * (c1 + v * (...)), coefficients from c0 up."""
        last, *rest = reversed(coefficients)
        text = lit(last, dtype)
        for c in rest:
            text = f"({text} * {variable} + {lit(c, dtype)})"
        return text.removeprefix("(").removesuffix(")")


    def bits(dtype):
        """Facts about the representation of dtype."""
        if dtype == "float":
            return SimpleNamespace(
                bits=32, mantissa=23, sign="0x80000000", magnitude="0x7fffffff",
                upper="0xfffff000", whole=lit(2**23, dtype),
            )
        return SimpleNamespace(
            bits=64, mantissa=52, sign="0x8000000000000000UL", magnitude="0x7fffffffffffffffUL",
            upper="0xfffffffff8000000UL", whole=lit(2**52, dtype),
        )


    def magnitude(x, T, I, dtype):
        """|x|, for a name x."""
        return f"as_{T}(as_u{I}({x}) & (u{I})({bits(dtype).magnitude}))"


    def with_sign(y, x, T, I, dtype):
        """y >= 0 with the sign of x."""
        return f"as_{T}(as_u{I}({y}) | (as_u{I}({x}) & (u{I})({bits(dtype).sign})))"


    def upper(x, T, I, dtype):
        """x cut to half of its bits, so that the product of two such numbers is exact."""
        return f"as_{T}(as_u{I}({x}) & (u{I})({bits(dtype).upper}))"


    def pi(factor, dtype):
        """factor * pi, and what is missing from it relative to it."""
        rest = {"float": -2.7827534e-8, "double": 3.8981718325193755e-17}[dtype]
        return lit(factor * 3.141592653589793, dtype), lit(rest, dtype)
%>

<%def name="exp(suffix, T, I, dtype)">
<%
    if dtype == "float":
        # 2 e^r, |r| <= ln(2)/2: 1.05 ulp (c0 fixed, so that exp(0) is exactly 1). One degree more gives 0.9 ulp in
        # all, but costs a Gaussian sum 5 to 20 % of its speed.
        c = [1.0, 0.999999463558197, 0.49999135732650757, 0.16668134927749634, 0.04189934581518173,
             0.008265867829322815]
        ln2_hi, ln2_lo = "0.693359375f", "-2.12194440e-4f"
        magic, shift, low, high = 1.5 * 2**23 + 126, 23, -87.5, 89.5
    else:
        # 2 e^r, |r| <= ln(2)/2: relative error 3.6e-18 (c0 and c1 fixed)
        c = [1.0, 1.0, 0.500000000000001063, 0.166666666666664126, 0.041666666666530154, 0.00833333333349442309,
             0.00138888889436315089, 0.00019841269506674271, 2.48014930972230686e-5, 2.75575862745214509e-6,
             2.76302490685997576e-7, 2.50000980710907386e-8]
        ln2_hi, ln2_lo = "6.93145751953125e-1", "1.42860682030941723212e-6"
        magic, shift, low, high = 1.5 * 2**52 + 1022, 52, -708.25, 710.5
    poly = horner([2 * v for v in c], "r", dtype)
%>\
// e^x = 2^(n-1) * 2 e^r with n = round(x / ln 2). Error: float 2 ulp (1.92 seen), double 1 ulp (0.91 seen).
// The exponent field of 2^(n-1) is n + 126 (double: n + 1022). At n = 129 it is that of inf, at n = -126 that of 0:
// clamping x gives overflow and underflow for free. So results below 2^-125.5 = 1.66e-38 (double: 2^-1021.5 =
// 3.15e-308) are 0, and nothing on the way is subnormal: that would make far pairs 2 to 3 times slower.
static inline ${T} exp_${suffix}(${T} x) {
    x = x < (${T})(${lit(low, dtype)}) ? (${T})(${lit(low, dtype)}) : x;  // nan stays
    x = x > (${T})(${lit(high, dtype)}) ? (${T})(${lit(high, dtype)}) : x;
    ${T} t = x * ${lit(1.4426950408889634, dtype)} + ${lit(magic, dtype)};
    ${T} n = t - ${lit(magic, dtype)};
    ${T} r = x - n * ${ln2_hi};
    r = r - n * ${ln2_lo};
    ${T} p = ${poly};
    return p * as_${T}(as_u${I}(t) << ${shift});
}
</%def>

<%def name="_expm1(suffix, T, I, dtype, tanh)">
<%
    U = "u" + I
    if dtype == "float":
        # (e^r - 1 - r) / r^2, |r| <= ln(2)/2: error 1.5e-8 of e^r - 1
        c = [0.4999999701976776, 0.16666539013385773, 0.04166775569319725, 0.008367126807570457,
             0.0013835588470101357]
        ln2_hi, ln2_lo = "0.693359375f", "-2.12194440e-4f"
        magic, shift, low, high = 1.5 * 2**23 + 126, 23, -20.0, 89.0
    else:
        # the same: error 3.1e-17
        c = [0.5000000000000006, 0.1666666666666659, 0.041666666666576764, 0.008333333333389484,
             0.0013888888931562387, 0.00019841269719085875, 2.4801505275761093e-05, 2.7557407528342556e-06,
             2.7626037362667573e-07, 2.5053763627398883e-08]
        ln2_hi, ln2_lo = "6.93145751953125e-1", "1.42860682030941723212e-6"
        magic, shift, low, high = 1.5 * 2**52 + 1022, 52, -40.0, 709.9
    one, large = lit(1, dtype), lit(-low, dtype)
%>\
% if tanh:
// tanh x = h / (h + 1), h = (e^2|x| - 1) / 2 as in expm1. Error: 3 ulp (2.6 seen).
// From |x| = ${lit(-low / 2, dtype)} on, h + 1 is h and the value 1.
static inline ${T} tanh_${suffix}(${T} x) {
    ${T} y = ${magnitude("x", T, I, dtype)};
    y = y + y;
    y = y > (${T})(${large}) ? (${T})(${large}) : y;  // nan stays
% else:
// e^x - 1 = 2 h, h = 2^(n-1) (e^r - 1) + (2^(n-1) - 1/2), n = round(x / ln 2). Error: float 2 ulp (1.55 seen),
// double 2.5 ulp (2.1 seen).
static inline ${T} expm1_${suffix}(${T} x) {
    ${T} y = x < (${T})(${lit(low, dtype)}) ? (${T})(${lit(low, dtype)}) : x;  // nan stays
    y = y > (${T})(${lit(high, dtype)}) ? (${T})(${lit(high, dtype)}) : y;
% endif
    ${T} t = y * ${lit(1.4426950408889634, dtype)} + ${lit(magic, dtype)};
    ${T} n = t - ${lit(magic, dtype)};
    ${T} r = y - n * ${ln2_hi};
    r = r - n * ${ln2_lo};
    ${T} p = ${horner(c, "r", dtype)};
    p = r + (r * r) * p;
    ${T} s = as_${T}(as_${U}(t) << ${shift});
    y = s * p + (s - ${lit(0.5, dtype)});
% if tanh:
    y = y / (y + ${one});
    return ${with_sign("y", "x", T, I, dtype)};
% else:
    return y + y;
% endif
}
</%def>

<%def name="expm1(suffix, T, I, dtype)">${_expm1(suffix, T, I, dtype, False)}</%def>
<%def name="tanh(suffix, T, I, dtype)">${_expm1(suffix, T, I, dtype, True)}</%def>

<%def name="_log(suffix, T, I, dtype, plus_one)">
<%
    U = "u" + I
    if dtype == "float":
        tiny, scale, scale_bits, field = 2.0**-126, 2.0**23, 23, 23
        one_bits, root_half, mantissa = "0x3f800000", "0x3f3504f3", "0x007fffff"
        # log(1 + f) = f - f^2 / 2 + f^3 P(f), sqrt(1/2) <= 1 + f <= sqrt(2): relative error 3.3e-8
        c = [0.3333385808765578, -0.250017468691571, 0.199653973645493, -0.1656563525126912, 0.1487696793149569,
             -0.1435020332707341, 0.0891786005292]
        magic, magic_bits, bias = 2.0**23, "0x4b000000", 127
        ln2_hi, ln2_lo = "0.693359375f", "-2.12194440e-4f"
    else:
        tiny, scale, scale_bits, field = 2.0**-1022, 2.0**52, 52, 52
        one_bits, root_half, mantissa = "0x3ff0000000000000UL", "0x3fe6a09e667f3bcdUL", "0x000fffffffffffffUL"
        # log(1 + f) = 2 s + s z R(z), s = f / (2 + f), z = s^2 <= 0.0295: relative error 2.5e-18
        c = [0.6666666666666734415, 0.3999999999941466963, 0.2857142874238822104, 0.2222219857320958445,
             0.1818356432174184541, 0.1531405071909473709, 0.1479594764858223053]
        magic, magic_bits, bias = 2.0**52, "0x4330000000000000UL", 1023
        ln2_hi, ln2_lo = "6.93147180369123816490e-01", "1.90821492927058770002e-10"
    one, pole, correction = lit(1, dtype), lit(-1 if plus_one else 0, dtype), " + c" if plus_one else ""
%>\
% if plus_one:
// log(1 + x) = log y + c, y = 1 + x rounded and c = what that lost / y; where e = 0, f is x itself. Error: float
// 1.5 ulp (1.23 seen), double 1 ulp (0.83 seen). -inf at -1, nan below.
static inline ${T} log1p_${suffix}(${T} x) {
    ${T} y = x + ${one};
    ${T} c = (x < (${T})(${one}) ? x - (y - ${one}) : ${one} - (y - x)) / y;
% else:
// log x = e * ln 2 + log(1 + f), 1 + f in [sqrt(1/2), sqrt(2)]. Error: float 1.5 ulp (1.25 seen),
// double 1 ulp (0.80 seen); subnormals included. log(0) = -inf, log(x < 0) = nan.
static inline ${T} log_${suffix}(${T} x) {
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
    p = p * (f * z) + (e * ${ln2_lo}${correction});
    p = p - 0.5f * z;
    y = (f + p) + e * ${ln2_hi};
% else:
    ${T} s = f / (f + 2.0);
    ${T} z = s * s;
    ${T} h = 0.5 * f * f;
    ${T} p = ${horner(c, "z", dtype)};
    y = e * ${ln2_hi} - ((h - (s * (h + p * z) + (e * ${ln2_lo}${correction}))) - f);
% endif
    y = x < (${T})(INFINITY) ? y : x;  // inf and nan
    y = x < (${T})(${pole}) ? (${T})(NAN) : y;
    return x == (${T})(${pole}) ? -(${T})(INFINITY) : y;
}
</%def>

<%def name="log(suffix, T, I, dtype)">${_log(suffix, T, I, dtype, False)}</%def>
<%def name="log1p(suffix, T, I, dtype)">${_log(suffix, T, I, dtype, True)}</%def>

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

<%def name="rsqrt0(suffix, T, I, dtype)">\
// 1 / sqrt(x), but 0 at x = 0 (so that the gradient of a norm is 0 there); nan below 0, 0 at inf. Error: 1.5 ulp where
// the device's sqrt and division round correctly.
static inline ${T} rsqrt0_${suffix}(${T} x) {
    ${T} y = ${lit(1, dtype)} / sqrt(x);
    return x == (${T})(${lit(0, dtype)}) ? x : y;
}
</%def>

<%def name="abs(suffix, T, I, dtype)">\
static inline ${T} abs_${suffix}(${T} x) {
    return ${magnitude("x", T, I, dtype)};
}
</%def>

<%def name="to_real(suffix, T, I, dtype)">\
// An integer as wide, correctly rounded.
static inline ${T} to_real_${suffix}(${I} n) {
    return convert_${T}(n);
}
</%def>

<%def name="reciprocal_scale(suffix, T, I, dtype)">
<%
    b = bits(dtype)
    bias = 2 ** (b.bits - b.mantissa - 2) - 1
    field, top, tiny = ((2 * bias + 1) << b.mantissa, (2 * bias) << b.mantissa, 1 << b.mantissa)
    largest = 2.0 ** bias
    u = "UL" if dtype == "double" else "u"
%>\
// The power of two 2^-floor(log2 |x|), between 2^-${bias - 1} (also at inf and nan) and 2^${bias} (also at 0). Exact.
static inline ${T} reciprocal_scale_${suffix}(${T} x) {
    ${T} s = as_${T}((u${I})(${hex(top)}${u}) - (as_u${I}(x) & (u${I})(${hex(field)}${u})));
    return ${magnitude("x", T, I, dtype)} < (${T})(${lit(largest, dtype)}) ? s : as_${T}((u${I})(${hex(tiny)}${u}));
}
</%def>

<%def name="floor(suffix, T, I, dtype)">
<% whole, one = bits(dtype).whole, lit(1, dtype) %>\
// Exact. From ${whole} on all numbers are integers.
static inline ${T} floor_${suffix}(${T} x) {
    ${T} a = ${magnitude("x", T, I, dtype)};
    ${T} t = (a + ${whole}) - ${whole};
    t = ${with_sign("t", "x", T, I, dtype)};
    t = t > x ? t - ${one} : t;
    return a < (${T})(${whole}) ? t : x;
}
</%def>

<%def name="round(suffix, T, I, dtype)">
<% whole, one = bits(dtype).whole, lit(1, dtype) %>\
// Halves away from 0. Exact.
static inline ${T} round_${suffix}(${T} x) {
    ${T} a = ${magnitude("x", T, I, dtype)};
    ${T} t = (a + ${whole}) - ${whole};
    t = a - t == (${T})(${lit(0.5, dtype)}) ? t + ${one} : t;
    t = a < (${T})(${whole}) ? t : a;
    return ${with_sign("t", "x", T, I, dtype)};
}
</%def>

<%def name="_sine(suffix, T, I, dtype, cosine)">
<%
    name = "cos" if cosine else "sin"
    bound = "any(far)" if suffix == "v" and T[-1].isdigit() else "far"
    if dtype == "float":
        # sin r = r + r u S(u), u = r^2, |r| <= pi/2: relative error 6.1e-9
        c = [-0.16666659520822027, 0.008333065419246213, -0.00019809538204034938, 2.605629520159688657e-6]
        parts = ["3.140625f", "9.67502593994140625e-4f", "1.5099067240953445e-7f", "5.126688136514179e-12f"]
        limit, magic, shift = 1e4, 1.5 * 2**23, 31
    else:
        # the same: relative error 2.8e-19
        c = [-0.16666666666666666, 0.008333333333333193317, -0.0001984126984120885026, 2.75573192110722713e-6,
             -2.505210686669485934e-8, 1.605893939143850141e-10, -7.642983120573674209e-13, 2.721084978760601136e-15]
        parts = ["3.1415926534682512283", "1.2154201012607931953e-10", "4.0445324975919012631e-21"]
        limit, magic, shift = 1e6, 1.5 * 2**52, 63
%>\
% if cosine:
// cos x = -(-1)^n sin(r), r = x - (n + 1/2) pi. Otherwise as sin.
% else:
// sin x = (-1)^n sin(r), r = x - n pi, pi in parts whose products with n are exact. Error: 2.5 ulp (2.4 seen)
// up to |x| = ${lit(limit, dtype)}; beyond, the built-in in those lanes alone: PoCL's own
// float sin and cos give 0.01 for a tiny lane whose neighbour is huge, inf or nan.
% endif
static inline ${T} ${name}_${suffix}(${T} x) {
% if cosine:
    ${T} t = (x * ${lit(0.3183098861837907, dtype)} - ${lit(0.5, dtype)}) + ${lit(magic, dtype)};
    ${T} n = (t - ${lit(magic, dtype)}) + ${lit(0.5, dtype)};
% else:
    ${T} t = x * ${lit(0.3183098861837907, dtype)} + ${lit(magic, dtype)};
    ${T} n = t - ${lit(magic, dtype)};
% endif
    ${T} r = x - n * ${parts[0]};
% for part in parts[1:]:
    r = r - n * ${part};
% endfor
    ${T} u = r * r;
    ${T} p = ${horner(c, "u", dtype)};
    ${T} y = ${"-r - (r * u) * p" if cosine else "r + (r * u) * p"};
    y = as_${T}(as_u${I}(y) ^ (as_u${I}(t) << ${shift}));
    ${I} far = ${magnitude("x", T, I, dtype)} > (${T})(${lit(limit, dtype)});
    if (${bound}) y = far ? ${name}(x) : y;
    return y;
}
</%def>

<%def name="sin(suffix, T, I, dtype)">${_sine(suffix, T, I, dtype, False)}</%def>
<%def name="cos(suffix, T, I, dtype)">${_sine(suffix, T, I, dtype, True)}</%def>

<%def name="_arcsine(suffix, T, I, dtype, cosine)">
<%
    name = "acos" if cosine else "asin"
    if dtype == "float":
        # (asin s - s) / s^3, s^2 <= 1/4: error 5.4e-9 of asin s
        c = [0.16666731238365173, 0.07495954632759094, 0.04540199413895607, 0.024472249671816826, 0.041723016649484634]
    else:
        # the same: error 1.5e-17
        c = [0.16666666666665403, 0.07500000000338619, 0.044642856826912956, 0.03038195919820027,
             0.022371756524530283, 0.017359728537993797, 0.013884993826437474, 0.012170839349747805,
             0.006520769067360876, 0.019548417259808416, -0.01625652072504925, 0.03193481186256886]
    half, one, two = lit(0.5, dtype), lit(1, dtype), lit(2, dtype)
    (whole_pi, rest), (half_pi, _) = pi(1, dtype), pi(0.5, dtype)
%>\
% if cosine:
// acos x = pi/2 - asin x; near 1 it is 2 asin(s), near -1 pi - 2 asin(s), s^2 = (1 - |x|) / 2. Error: 1.5 ulp
// (1.18 seen).
% else:
// asin x = s + p, s = x, up to |x| = 1/2; beyond, pi/2 - 2 asin(s), s^2 = (1 - |x|) / 2. Error: 2.5 ulp (2.1 seen).
% endif
static inline ${T} ${name}_${suffix}(${T} x) {
    ${T} a = ${magnitude("x", T, I, dtype)};
    ${I} big = a > (${T})(${half});
    ${T} u = big ? ${half} - ${half} * a : a * a;
    ${T} s = big ? sqrt(u) : a;  // nan beyond 1
    ${T} p = ${horner(c, "u", dtype)};
    p = (s * u) * p;
% if cosine:
    ${I} negative = x < (${T})(${lit(0, dtype)});
    ${T} outer = negative ? (${T})(${whole_pi}) : (${T})(${lit(0, dtype)});
    ${T} base = big ? outer : (${T})(${half_pi});
    ${T} factor = big ? (${T})(${two}) : (${T})(-${one});
    factor = negative ? -factor : factor;
    return (base + factor * s) + (factor * p + base * ${rest});
% else:
    ${T} y = (${half_pi} - ${two} * s) + (${half_pi} * ${rest} - ${two} * p);
    y = big ? y : s + p;
    return ${with_sign("y", "x", T, I, dtype)};
% endif
}
</%def>

<%def name="asin(suffix, T, I, dtype)">${_arcsine(suffix, T, I, dtype, False)}</%def>
<%def name="acos(suffix, T, I, dtype)">${_arcsine(suffix, T, I, dtype, True)}</%def>

<%def name="_arctangent(suffix, T, I, dtype, two)">
<%
    if dtype == "float":
        # (atan t - t) / t^3, 0 <= t <= 1: error 2.1e-8 of atan t
        c = [-0.3333321511745453, 0.19995003938674927, -0.14220012724399567, 0.10698413848876953, -0.07616809010505676,
             0.04393352195620537, -0.01679164730012417, 0.0030224951915442944]
    else:
        # the same: error 4e-17
        c = [-0.3333333333333186, 0.19999999999755086, -0.1428571427133826, 0.11111110678832338, -0.09090901236548145,
             0.07692212940764775, -0.06665860424813728, 0.058773080339555805, -0.0523923380537746, 0.04673951372022835,
             -0.04092640914342899, 0.03406783663565809, -0.025826804930880267, 0.016978019553347226,
             -0.009184529622075416, 0.003855949949403198, -0.0011640593878510638, 0.00022301892860899944,
             -2.0258124545104984e-05]
    zero, one = lit(0, dtype), lit(1, dtype)
    (whole_pi, rest), (half_pi, _) = pi(1, dtype), pi(0.5, dtype)
%>\
% if two:
// The angle of the point (x, y): base +- atan t, t = the smaller of |x|, |y| / the larger, base = 0, pi/2 or pi.
// Error: 2 ulp (1.65 seen). Special values, signs of zeros included, are those of C.
static inline ${T} atan2_${suffix}(${T} y, ${T} x) {
    ${T} a = ${magnitude("y", T, I, dtype)};
    ${T} b = ${magnitude("x", T, I, dtype)};
    ${I} steep = a > b;
    ${I} left = as_${I}(x) < (${I})(0);
    ${T} over = steep ? b : a;
    ${T} under = steep ? a : b;
    ${T} t = over / (under == (${T})(${zero}) ? (${T})(${one}) : under);
    t = ((over == under) & (under > (${T})(${zero}))) ? (${T})(${one}) : t;  // inf / inf
    ${T} base = left ? (${T})(${whole_pi}) : (${T})(${zero});
    base = steep ? (${T})(${half_pi}) : base;
    ${I} minus = steep ^ left;
% else:
// atan x = base +- atan t, t = x or 1 / x, base = 0 or pi/2. Error: 2 ulp (1.64 seen).
static inline ${T} atan_${suffix}(${T} y) {
    ${T} a = ${magnitude("y", T, I, dtype)};
    ${I} minus = a > (${T})(${one});
    ${T} t = (minus ? (${T})(${one}) : a) / (minus ? a : (${T})(${one}));
    ${T} base = minus ? (${T})(${half_pi}) : (${T})(${zero});
% endif
    ${T} u = t * t;
    ${T} p = ${horner(c, "u", dtype)};
    p = t + (t * u) * p;
    p = minus ? -p : p;
    p = base + (p + base * ${rest});
    return ${with_sign("p", "y", T, I, dtype)};
}
</%def>

<%def name="atan(suffix, T, I, dtype)">${_arctangent(suffix, T, I, dtype, False)}</%def>
<%def name="atan2(suffix, T, I, dtype)">${_arctangent(suffix, T, I, dtype, True)}</%def>
