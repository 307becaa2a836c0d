## Exponentials and hyperbolic functions. The rules are in functions.cl.mako.
<%!
    from clreduce.codegen.mathematics import horner, lit, looked_up, magnitude, mantissas_of_roots, with_sign

    # By type: registers that may serve as tables, and their entries.
    TABLES = {"float16": [(512, 32), (256, 8)], "float8": [(256, 8)], "double8": [(512, 8)], "double16": [(512, 8)]}
%>

<%def name="_exp(suffix, T, I, dtype, kind)">
<%
    if dtype == "float":
        # 2 e^r, |r| <= ln(2)/2: 1.05 ulp (c0 fixed, so that exp(0) is exactly 1). One degree more gives 0.9 ulp in
        # all, but costs a Gaussian sum 5 to 20 % of its speed.
        c = [1.0, 0.999999463558197, 0.49999135732650757, 0.16668134927749634, 0.04189934581518173,
             0.008265867829322815]
        ln2_hi, ln2_lo = "0.693359375f", "-2.12194440e-4f"
        magic, shift, low, high = 1.5 * 2**23 + 126, 23, -87.5, 89.5
        lowest, highest, largest = -126, 129, 89.6
    else:
        # 2 e^r, |r| <= ln(2)/2: relative error 3.6e-18 (c0 and c1 fixed)
        c = [1.0, 1.0, 0.500000000000001063, 0.166666666666664126, 0.041666666666530154, 0.00833333333349442309,
             0.00138888889436315089, 0.00019841269506674271, 2.48014930972230686e-5, 2.75575862745214509e-6,
             2.76302490685997576e-7, 2.50000980710907386e-8]
        ln2_hi, ln2_lo = "6.93145751953125e-1", "1.42860682030941723212e-6"
        magic, shift, low, high = 1.5 * 2**52 + 1022, 52, -708.25, 710.5
        lowest, highest, largest = -1022, 1025, 710.7
    poly = horner([2 * v for v in c], "r", dtype)
%>\
% if kind == "cosh":
// cosh x = u + 1 / (4 u), u = e^|x| / 2 = 2^(n-2) * 2 e^r as in exp, so that it overflows where cosh does. Error: float
// 2.5 ulp (2.3 seen), double 1.5 ulp (1.2 seen).
static inline ${T} cosh_${suffix}(${T} x) {
    x = ${magnitude("x", T, I, dtype)};
    x = x > (${T})(${lit(largest, dtype)}) ? (${T})(${lit(largest, dtype)}) : x;  // nan stays
    ${T} t = x * ${lit(1.4426950408889634, dtype)} + ${lit(magic - 1, dtype)};
    ${T} n = t - ${lit(magic - 1, dtype)};
    ${T} r = x - n * ${ln2_hi};
    r = r - n * ${ln2_lo};
% elif kind == "exp2":
// 2^x = 2^(n-1) * 2 e^(r ln 2), n = round(x), as in exp. Exact where x is an integer. Error: float 2 ulp (1.87 seen),
// double 1 ulp (0.95 seen). Results below 2^-125.5 (double: 2^-1021.5) are 0.
static inline ${T} exp2_${suffix}(${T} x) {
${_by_table(T, I, dtype, kind)}\
    x = x < (${T})(${lit(lowest, dtype)}) ? (${T})(${lit(lowest, dtype)}) : x;  // nan stays
    x = x > (${T})(${lit(highest, dtype)}) ? (${T})(${lit(highest, dtype)}) : x;
    ${T} t = x + ${lit(magic, dtype)};
    ${T} n = t - ${lit(magic, dtype)};
    ${T} r = (x - n) * ${lit(0.6931471805599453, dtype)};
% else:
// e^x = 2^(n-1) * 2 e^r with n = round(x / ln 2). Error: float 2 ulp (1.92 seen), double 1 ulp (0.91 seen).
// The exponent field of 2^(n-1) is n + 126 (double: n + 1022). At n = 129 it is that of inf, at n = -126 that of 0:
// clamping x gives overflow and underflow for free. So results below 2^-125.5 = 1.66e-38 (double: 2^-1021.5 =
// 3.15e-308) are 0, and nothing on the way is subnormal: that would make far pairs 2 to 3 times slower.
% if kind == "exp_never_above_1":
// The same for x that are not above 0: they need no clamping there.
% endif
static inline ${T} ${kind}_${suffix}(${T} x) {
${_by_table(T, I, dtype, kind)}\
    x = x < (${T})(${lit(low, dtype)}) ? (${T})(${lit(low, dtype)}) : x;  // nan stays
% if kind == "exp":
    x = x > (${T})(${lit(high, dtype)}) ? (${T})(${lit(high, dtype)}) : x;
% endif
    ${T} t = x * ${lit(1.4426950408889634, dtype)} + ${lit(magic, dtype)};
    ${T} n = t - ${lit(magic, dtype)};
    ${T} r = x - n * ${ln2_hi};
    r = r - n * ${ln2_lo};
% endif
    ${T} p = ${poly};
% if kind == "cosh":
    p = p * as_${T}(as_u${I}(t) << ${shift});
    return p + ${lit(0.25, dtype)} / p;
% else:
    return p * as_${T}(as_u${I}(t) << ${shift});
% endif
% if T in TABLES and kind != "cosh":
#endif
% endif
}
</%def>

<%def name="_by_table(T, I, dtype, kind)">\
% for width, size in TABLES.get(T, ()):
${"#elif" if loop.index else "#if"} defined(TABLES_OF_${width}_BITS)
${_with_table(T, I, dtype, kind, size)}\
% endfor
% if T in TABLES:
#else
% endif
</%def>

<%def name="_with_table(T, I, dtype, kind, size)">\
<%
    # (e^r - 1) / r, |r| <= ln(2) / (2 size): relative error of e^r 2.7e-8, 5.4e-8, double 2.9e-18 (leading ones fixed)
    if dtype == "float":
        c = {8: [1.0, 0.5000647902488708, 0.16668103635311127], 32: [1.0000146627426147, 0.5000044703483582]}[size]
        bias, shift, ln2_hi, ln2_lo, low, high = 127, 23, 0.693359375, -2.12194440e-4, -86.65, 89.0
    else:
        c = [1.0, 0.5000000000000301, 0.16666666666667268, 0.04166666656938674, 0.008333333318454574,
             0.001388978303793641, 0.00019842408001047367]
        bias, shift, ln2_hi, ln2_lo, low, high = 1023, 52, 6.93145751953125e-1, 1.42860682030941723212e-6, -707.72, 710.0
    bits = size.bit_length() - 1
    halved = kind != "exp_never_above_1"
    magic = 1.5 * 2**shift + size * (bias - halved)
    if kind == "exp2":
        magic, low, high = magic / size, 2 - bias - 0.01, bias + 1.5
    halves = [".lo", ".hi"] if T in ("float16", "double16") and size == 8 else [""]
%>\
    // A register is a table of 2^(k / ${size}): 2^(s / ${size}) in place of 2^n, for whole numbers s, leaves a shorter polynomial.
    // The lowest ${bits} bits of s choose the mantissa, the others are the exponent. Where that would be too small the result
    // is 0: below 2^-125 (double: 2^-1021). Error: ${{("float", 8): "1.5 ulp (1.16 seen)", ("float", 32): "2 ulp (1.74 seen)", ("double", 8): "1.1 ulp (1.03 seen)"}[dtype, size]}.
% if halved:
    x = x > (${T})(${lit(high, dtype)}) ? (${T})(${lit(high, dtype)}) : x;
% endif
% if kind == "exp2":
    ${T} t = x + ${lit(magic, dtype)};
    ${T} n = t - ${lit(magic, dtype)};
    ${T} r = (x - n) * ${lit(0.6931471805599453, dtype)};
% else:
    ${T} t = x * ${lit(1.4426950408889634 * size, dtype)} + ${lit(magic, dtype)};
    ${T} n = t - ${lit(magic, dtype)};
    ${T} r = x - n * ${lit(ln2_hi / size, dtype)};
    r = r - n * ${lit(ln2_lo / size, dtype)};
% endif
    ${T} p = r * (${horner(c, "r", dtype)});
    ${I} s = as_${I}(t), mantissa;
% for half in halves:
    mantissa${half} = ${looked_up(mantissas_of_roots(size, dtype), "s" + half, dtype)};
% endfor
    ${T} scale = as_${T}(as_u${I}(mantissa) + (as_u${I}(s) << ${shift - bits}));
    p = scale * p + scale;
% if halved:
    p = p + p;
% endif
    return x < (${T})(${lit(low, dtype)}) ? (${T})(0) : p;
</%def>

<%def name="exp(suffix, T, I, dtype)">${_exp(suffix, T, I, dtype, "exp")}</%def>
<%def name="exp_never_above_1(suffix, T, I, dtype)">${_exp(suffix, T, I, dtype, "exp_never_above_1")}</%def>
<%def name="exp2(suffix, T, I, dtype)">${_exp(suffix, T, I, dtype, "exp2")}</%def>
<%def name="cosh(suffix, T, I, dtype)">${_exp(suffix, T, I, dtype, "cosh")}</%def>

<%def name="_expm1(suffix, T, I, dtype, kind)">
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
    if kind == "sinh":
        magic, large = magic - 1, lit(89.6 if dtype == "float" else 710.7, dtype)
%>\
% if kind == "sinh":
// sinh x = 2 (g + g / (4 g + 1)), g = (e^|x| - 1) / 4 as in expm1, so that it overflows where sinh does. Error: 3 ulp
// (2.3 seen).
static inline ${T} sinh_${suffix}(${T} x) {
    ${T} y = ${magnitude("x", T, I, dtype)};
    y = y > (${T})(${large}) ? (${T})(${large}) : y;  // nan stays
% elif kind == "tanh":
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
    y = s * p + (s - ${lit(0.25 if kind == "sinh" else 0.5, dtype)});
% if kind == "sinh":
    y = y + y / (${lit(4, dtype)} * y + ${one});
    y = y + y;
    return ${with_sign("y", "x", T, I, dtype)};
% elif kind == "tanh":
    y = y / (y + ${one});
    return ${with_sign("y", "x", T, I, dtype)};
% else:
    return y + y;
% endif
}
</%def>

<%def name="expm1(suffix, T, I, dtype)">${_expm1(suffix, T, I, dtype, "expm1")}</%def>
<%def name="tanh(suffix, T, I, dtype)">${_expm1(suffix, T, I, dtype, "tanh")}</%def>
<%def name="sinh(suffix, T, I, dtype)">${_expm1(suffix, T, I, dtype, "sinh")}</%def>
