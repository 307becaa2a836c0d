## Trigonometric functions and their inverses. The rules are in functions.cl.mako.
<%!
    from clreduce.codegen.mathematics import any_lane, horner, lit, magnitude, pi, with_sign

    SINE = {
        # sin r = r + r u S(u), u = r^2, |r| <= pi/2: relative error 6.1e-9
        "float": [-0.16666659520822027, 0.008333065419246213, -0.00019809538204034938, 2.605629520159688657e-6],
        # the same: relative error 2.8e-19
        "double": [-0.16666666666666666, 0.008333333333333193317, -0.0001984126984120885026, 2.75573192110722713e-6,
                   -2.505210686669485934e-8, 1.605893939143850141e-10, -7.642983120573674209e-13,
                   2.721084978760601136e-15],
    }
%>

<%def name="_sine(suffix, T, I, dtype, cosine)">
<%
    name = "cos" if cosine else "sin"
    if dtype == "float":
        parts = ["3.140625f", "9.67502593994140625e-4f", "1.5099067240953445e-7f", "5.126688136514179e-12f"]
        limit, magic, shift = 1e4, 1.5 * 2**23, 31
    else:
        parts = ["3.1415926534682512283", "1.2154201012607931953e-10", "4.0445324975919012631e-21"]
        limit, magic, shift = 1e6, 1.5 * 2**52, 63
    c = SINE[dtype]
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
    if (${any_lane("far", suffix, T)}) y = far ? ${name}(x) : y;
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

<%def name="_cotangent(suffix, T, I, dtype, cosecant)">
<%
    name = "pi_csc" if cosecant else "pi_cot"
    whole_pi, rest = pi(1, dtype)
%>\
% if cosecant:
// pi / |sin(pi x)|; inf at integers. Error: 3 ulp (2.4 seen).
% else:
// pi cot(pi x); inf at integers. f = x - round(x) is exact, and so is 1/2 - |f| in cos(pi f) = sin(pi (1/2 - |f|)).
// Error: 4.5 ulp (4.03 seen).
% endif
static inline ${T} ${name}_${suffix}(${T} x) {
    ${T} f = x - round_${suffix}(x);
    ${T} a = ${magnitude("f", T, I, dtype)};
    ${T} r = a * ${whole_pi} + a * (${whole_pi} * ${rest});
    ${T} u = r * r;
    ${T} p = ${horner(SINE[dtype], "u", dtype)};
    p = r + (r * u) * p;
% if cosecant:
    return ${whole_pi} / p;
% else:
    a = ${lit(0.5, dtype)} - a;
    r = a * ${whole_pi} + a * (${whole_pi} * ${rest});
    u = r * r;
    ${T} q = ${horner(SINE[dtype], "u", dtype)};
    q = (r + (r * u) * q) * ${whole_pi} / p;
    return ${with_sign("q", "f", T, I, dtype)};
% endif
}
</%def>

<%def name="pi_cot(suffix, T, I, dtype)">${_cotangent(suffix, T, I, dtype, False)}</%def>
<%def name="pi_csc(suffix, T, I, dtype)">${_cotangent(suffix, T, I, dtype, True)}</%def>
