<%doc>
Own mathematics. Why not the built-ins: on PoCL a call to a built-in clobbers all vector registers, so that every
accumulator is spilled around it; these are short enough to be inlined.

One def per function, called by prelude.cl.mako as def(suffix, T, I, dtype): it writes `T NAME_suffix(T x)`.
  suffix  "v" (a lane vector) or "s" (one scalar)
  T, I    OpenCL types: T as float16 or double; I the integer type just as wide (int16, long)
  dtype   "float" or "double"

Rules of this file
- No fma(), rint(), ldexp() ...: calls. Write a * b + c; -cl-mad-enable makes it one instruction.
- Rounding to an integer is adding and subtracting MAGIC = 1.5 * 2^23 (1.5 * 2^52), after which the integer sits in the
  low mantissa bits. -cl-fast-relaxed-math would fold that away: kernels must not be built with it.
- Text is the same for scalars and vectors: selection by ?:, whose constants are cast to T.
- No arithmetic right shift and no long <-> double conversion: AVX2 has neither.
- Every coefficient comes with its interval and error. tests/test_prelude.py asserts the stated bounds.
Bounds are in ulp (units in the last place) of the correctly rounded result, where a * b + c is one FMA; "seen" is the
largest error met (float exp: over all floats). Without FMA exp may err by 0.5 ulp more, the others keep their bounds.
</%doc>

<%!
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

<%def name="log(suffix, T, I, dtype)">
<%
    U = "u" + I
    if dtype == "float":
        tiny, scale, scale_bits, field = 2.0**-126, 2.0**23, 23, 23
        one, root_half, mantissa = "0x3f800000", "0x3f3504f3", "0x007fffff"
        # log(1 + f) = f - f^2 / 2 + f^3 P(f), sqrt(1/2) <= 1 + f <= sqrt(2): relative error 3.3e-8
        c = [0.3333385808765578, -0.250017468691571, 0.199653973645493, -0.1656563525126912, 0.1487696793149569,
             -0.1435020332707341, 0.0891786005292]
        magic, magic_bits, bias = 2.0**23, "0x4b000000", 127
        ln2_hi, ln2_lo = "0.693359375f", "-2.12194440e-4f"
    else:
        tiny, scale, scale_bits, field = 2.0**-1022, 2.0**52, 52, 52
        one, root_half, mantissa = "0x3ff0000000000000UL", "0x3fe6a09e667f3bcdUL", "0x000fffffffffffffUL"
        # log(1 + f) = 2 s + s z R(z), s = f / (2 + f), z = s^2 <= 0.0295: relative error 2.5e-18
        c = [0.6666666666666734415, 0.3999999999941466963, 0.2857142874238822104, 0.2222219857320958445,
             0.1818356432174184541, 0.1531405071909473709, 0.1479594764858223053]
        magic, magic_bits, bias = 2.0**52, "0x4330000000000000UL", 1023
        ln2_hi, ln2_lo = "6.93147180369123816490e-01", "1.90821492927058770002e-10"
%>\
// log x = e * ln 2 + log(1 + f), 1 + f in [sqrt(1/2), sqrt(2)]. Error: float 1.5 ulp (1.25 seen),
// double 1 ulp (0.80 seen); subnormals included. log(0) = -inf, log(x < 0) = nan.
static inline ${T} log_${suffix}(${T} x) {
    ${I} small = x < (${T})(${lit(tiny, dtype)});
    ${T} y = small ? x * ${lit(scale, dtype)} : x;
    ${U} u = as_${U}(y) + (${U})(${one} - ${root_half});
    ${T} e = as_${T}((u >> ${field}) | (${U})(${magic_bits}));
    e = e - (small ? (${T})(${lit(magic + bias + scale_bits, dtype)}) : (${T})(${lit(magic + bias, dtype)}));
    ${T} f = as_${T}((u & (${U})(${mantissa})) + (${U})(${root_half})) - ${lit(1, dtype)};
% if dtype == "float":
    ${T} z = f * f;
    ${T} p = ${horner(c, "f", dtype)};
    p = p * (f * z) + e * ${ln2_lo};
    p = p - 0.5f * z;
    y = (f + p) + e * ${ln2_hi};
% else:
    ${T} s = f / (f + 2.0);
    ${T} z = s * s;
    ${T} h = 0.5 * f * f;
    ${T} p = ${horner(c, "z", dtype)};
    y = e * ${ln2_hi} - ((h - (s * (h + p * z) + e * ${ln2_lo})) - f);
% endif
    y = x < (${T})(INFINITY) ? y : x;  // inf and nan
    y = x < (${T})(${lit(0, dtype)}) ? (${T})(NAN) : y;
    return x == (${T})(${lit(0, dtype)}) ? -(${T})(INFINITY) : y;
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
    ${I} far = fabs(x) > (${T})(${lit(limit, dtype)});
    if (${bound}) y = far ? ${name}(x) : y;
    return y;
}
</%def>

<%def name="sin(suffix, T, I, dtype)">${_sine(suffix, T, I, dtype, False)}</%def>
<%def name="cos(suffix, T, I, dtype)">${_sine(suffix, T, I, dtype, True)}</%def>
