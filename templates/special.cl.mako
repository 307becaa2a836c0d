## The error function, the logarithm of the gamma function, and theirs. The rules are in functions.cl.mako.
<%!
    from clreduce.codegen.mathematics import any_lane, horner, lit, magnitude, upper, with_sign
%>

<%def name="gauss(suffix, T, I, dtype)">
<%
    if dtype == "float":
        # e^r, |r| <= ln(2)/2: relative error 3.2e-9 (c0 and c1 fixed)
        c = [1.0, 1.0, 0.4999999403953552, 0.16666516661643982, 0.041668105870485306, 0.008369136601686478,
             0.0013836543075740337]
        ln2_hi, ln2_lo = "0.693359375f", "-2.12194440e-4f"
        magic, shift, largest = 1.5 * 2**23 + 126, 23, 9.36
    else:
        # the same: relative error 3.6e-18
        c = [1.0, 1.0, 0.500000000000001063, 0.166666666666664126, 0.041666666666530154, 0.00833333333349442309,
             0.00138888889436315089, 0.00019841269506674271, 2.48014930972230686e-5, 2.75575862745214509e-6,
             2.76302490685997576e-7, 2.50000980710907386e-8]
        ln2_hi, ln2_lo = "6.93145751953125e-1", "1.42860682030941723212e-6"
        magic, shift, largest = 1.5 * 2**52 + 1022, 52, 26.6125
%>\
// e^(-x^2) as exp, x^2 in two numbers, for its rounding error would count x^2 times. Error: 1.5 ulp (1.01 seen).
// Results below 2^-125.5 (double: 2^-1021.5) are 0.
static inline ${T} gauss_${suffix}(${T} x) {
    ${T} a = ${magnitude("x", T, I, dtype)};
    a = a > (${T})(${lit(largest, dtype)}) ? (${T})(${lit(largest, dtype)}) : a;  // nan stays
    ${T} h = ${upper("a", T, I, dtype)};
    ${T} low = (a - h) * (a + h);
    h = h * h;
    ${T} t = (h + low) * ${lit(-1.4426950408889634, dtype)} + ${lit(magic, dtype)};
    ${T} n = t - ${lit(magic, dtype)};
    ${T} r = -h - n * ${ln2_hi};
    r = (r - n * ${ln2_lo}) - low;
    ${T} p = ${horner([2 * v for v in c], "r", dtype)};
    return p * as_${T}(as_u${I}(t) << ${shift});
}
</%def>

<%def name="_error_function(suffix, T, I, dtype, complement)">
<%
    name = "erfc" if complement else "erf"
    if dtype == "float":
        # erf x / x - 1 in x^2, |x| <= 1: error 1.6e-9 of erf x
        c = [0.12837916612625122, -0.3761262595653534, 0.11283578723669052, -0.026853347197175026,
             0.005187162198126316, -0.0007997856591828167, 7.806922803865746e-05]
        # e^(x^2) erfc(x) (x + 2) in q = (x - 2) / (x + 2), 1/2 <= x <= 9.36: relative error 1.8e-8
        d = [1.0215827226638794, -0.6871606111526489, 0.2794704735279083, -0.036443620920181274,
             -0.021486861631274223, 0.00648279907181859, 0.0029711835086345673, -0.0008225152269005775,
             -0.00043148300028406084]
        largest = 9.36
    else:
        # the same: error 1.3e-17
        c = [0.1283791670955126, -0.376126389031841, 0.11283791670971098, -0.02686617064803097, 0.005223977652689456,
             -0.0008548328535537559, 0.00012055386180919831, -1.4926881097510578e-05, 1.6481051980327856e-06,
             -1.6557046662206882e-07, 1.601261031714498e-08, -1.6462142378924812e-09, 1.433883754806455e-10]
        # the same, x <= 26.6125: relative error 7.6e-17
        d = [1.021582705242023, -0.6871606844138091, 0.279472092556046, -0.0364422315071034, -0.021510661888723418,
             0.006479185077294831, 0.0030906120328672974, -0.00083729624425466, -0.0006630730357458816,
             3.4373269181579293e-05, 0.0001444659064297882, 3.413845641220576e-05, -2.1665773889866463e-05,
             -1.6088036981217333e-05, -1.2442549097813368e-06, 3.5976618523089464e-06, 2.2837013634267176e-06,
             -1.7189233760038585e-08, -9.525629067348045e-07, -1.841817456287729e-07, 2.4758258864413564e-07,
             -1.8836383578721597e-08]
        largest = 26.6125
    one, two = lit(1, dtype), lit(2, dtype)
%>\
% if complement:
// 1 - erf(x) up to |x| = 1, e^(-x^2) P(q) / (x + 2) beyond, and 2 - erfc(-x) below -1. Error: 4 ulp (3.4 seen).
// Where e^(-x^2) is below 2^-125.5 (double: 2^-1021.5), 0.
% else:
// x + x P(x^2) up to |x| = 1, 1 - erfc|x| as in erfc beyond, with the sign of x. Error: 1.5 ulp (1.08 seen).
% endif
static inline ${T} ${name}_${suffix}(${T} x) {
    ${T} a = ${magnitude("x", T, I, dtype)};
    ${I} near = a < (${T})(${one});
    ${T} u = x * x;
    ${T} inner = ${horner(c, "u", dtype)};
    inner = x * inner;
    a = a > (${T})(${lit(largest, dtype)}) ? (${T})(${lit(largest, dtype)}) : a;  // nan stays
    ${T} q = (a - ${two}) / (a + ${two});
    ${T} p = ${horner(d, "q", dtype)};
    p = p * gauss_${suffix}(a) / (a + ${two});
% if complement:
    p = x < (${T})(${lit(0, dtype)}) ? ${two} - p : p;
    return near ? (${one} - x) - inner : p;
% else:
    p = ${one} - p;
    p = ${with_sign("p", "x", T, I, dtype)};
    return near ? x + inner : p;
% endif
}
</%def>

<%def name="erf(suffix, T, I, dtype)">${_error_function(suffix, T, I, dtype, False)}</%def>
<%def name="erfc(suffix, T, I, dtype)">${_error_function(suffix, T, I, dtype, True)}</%def>

<%def name="lgamma(suffix, T, I, dtype)">
<%
    steps = 2 if dtype == "float" else 5
    if dtype == "float":
        # lgamma(2 + w) / w, |w| <= 1/2: relative error 1.6e-8
        c = [0.42278432846069336, 0.32246702909469604, -0.06735147535800934, 0.02058136835694313,
             -0.0074017103761434555, 0.002880204003304243, -0.0010899833869189024, 0.0005687644006684422,
             -0.00043881285819225013]
    else:
        # the same: relative error 1.9e-17
        c = [0.42278433509846713, 0.3224670334241133, -0.06735230105319497, 0.020580808427776758,
             -0.007385551029023422, 0.0028905103309417135, -0.0011927538974648754, 0.0005096695225833668,
             -0.00022315504146211112, 9.945752882487006e-05, -4.492312457544675e-05, 2.050698968520423e-05,
             -9.459358499692086e-06, 4.377561042273948e-06, -1.9663004461782783e-06, 9.386099524882652e-07,
             -5.895261899120406e-07, 2.5941462808749736e-07]
    # Stirling's series, in 1 / x^2
    series = [1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400]
    series = series[: 4 if dtype == "float" else 8]
    zero, half, one = (lit(value, dtype) for value in (0, 0.5, 1))
    constant = lit(0.4189385332046727, dtype)  # log(2 pi) / 2 - 1/2
%>\
// log|Gamma(x)|: from ${2.5 + steps} on Stirling's series; else x is brought to 2 + w, |w| <= 1/2, by Gamma(x + 1) =
// x Gamma(x); below -1/2 by the reflection log(pi / |x sin(pi x)|) - lgamma(-x). Error: 4 ulp (3.2 seen) of the
// largest of the result, 1, and below -1/2 lgamma(-x). inf at 0, at negative integers and at both infinities.
static inline ${T} lgamma_${suffix}(${T} x) {
    ${I} reflected = x < (${T})(-${half});
    ${T} y = reflected ? -x : x;
    ${I} near = y < (${T})(${lit(2.5 + steps, dtype)});
    ${I} up = y < (${T})(${lit(1.5, dtype)});
    ${T} z = y;
    ${T} p = y < (${T})(${half}) ? y * (y + ${one}) : y;
    p = up ? p : (${T})(${one});
% for _ in range(steps):
    p = z > (${T})(${lit(2.5, dtype)}) ? p * (z - ${one}) : p;
    z = z > (${T})(${lit(2.5, dtype)}) ? z - ${one} : z;
% endfor
    ${T} w = y < (${T})(${half}) ? y : y - ${one};
    w = up ? w : z - ${lit(2, dtype)};
    p = near ? p : y;
    ${T} l = log_${suffix}(${magnitude("p", T, I, dtype)});
    ${T} v = ${one} / y;
    ${T} u = v * v;
    ${T} s = ${horner(series, "u", dtype)};
    ${T} far = (y - ${half}) * (l - ${one}) + (v * s + ${constant});
    s = ${horner(c, "w", dtype)};
    s = w * s + (up ? -l : l);
    s = near ? s : far;
    if (${any_lane("reflected", suffix, T)}) {
        far = log_${suffix}(pi_csc_${suffix}(y) / y) - s;
        far = y - round_${suffix}(y) == (${T})(${zero}) ? (${T})(INFINITY) : far;
        far = y == (${T})(INFINITY) ? y : far;
        s = reflected ? far : s;
    }
    return s;
}
</%def>

<%def name="digamma(suffix, T, I, dtype)">
<%
    steps, terms = (3, 7) if dtype == "float" else (7, 11)
    # in 1 / x^2: the first term left out is below 2^-26 (double: 2^-54)
    series = [1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12, -3617 / 8160, 43867 / 14364,
              -174611 / 6600, 77683 / 276]
    series = series[:terms]
    zero, half, one = lit(0, dtype), lit(0.5, dtype), lit(1, dtype)
%>\
// d log Gamma(x) / dx: from ${steps} on log x - 1 / (2 x) - its series; below by digamma(x + ${steps}) less the sum of
// 1 / (x + k), which is q / p; below 0 by the reflection digamma(1 - x) - pi cot(pi x). Error: 8 ulp (7.1 seen) of the
// larger of the result, 1, and below 0 digamma(1 - x). -inf at 0, inf at -0, nan at negative integers and at -inf.
static inline ${T} digamma_${suffix}(${T} x) {
    ${I} reflected = x < (${T})(${zero});
    ${T} y = reflected ? ${one} - x : x;
    ${I} small = y < (${T})(${lit(steps, dtype)});
    ${T} p = y;
    ${T} q = (${T})(${one});
% for k in range(1, steps):
    q = q * (y + ${lit(k, dtype)}) + p;
    p = p * (y + ${lit(k, dtype)});
% endfor
    q = small ? q / p : (${T})(${zero});
    y = small ? y + ${lit(steps, dtype)} : y;
    ${T} v = ${one} / y;
    ${T} u = v * v;
    ${T} s = ${horner(series, "u", dtype)};
    s = (log_${suffix}(y) - (${half} * v + u * s)) - q;
    if (${any_lane("reflected", suffix, T)}) {
        y = s - pi_cot_${suffix}(x);
        y = x - round_${suffix}(x) == (${T})(${zero}) ? (${T})(NAN) : y;
        s = reflected ? y : s;
    }
    return s;
}
</%def>
