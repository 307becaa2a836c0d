## Exact or nearly exact: magnitude, rounding, square roots, tables. The rules are in functions.cl.mako.
<%!
    from clreduce.codegen.mathematics import bits, lit, magnitude, with_sign
%>

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

<%def name="to_real(suffix, T, I, dtype)">\
// An integer as wide, correctly rounded.
static inline ${T} to_real_${suffix}(${I} n) {
    return convert_${T}(n);
}
</%def>

<%def name="to_index(suffix, T, I, dtype)">\
// The nearest whole number, halves up; -1 for what is negative, 2^31 or more, or nan. Exact.
static inline ${I} to_index_${suffix}(${T} x) {
    ${T} t = floor_${suffix}(x);
    t = x - t >= (${T})(${lit(0.5, dtype)}) ? t + ${lit(1, dtype)} : t;
    t = t >= (${T})(${lit(0, dtype)}) && t < (${T})(${lit(2.0**31, dtype)}) ? t : (${T})(${lit(-1, dtype)});
    return convert_${I}(t);
}
</%def>

<%def name="lookup(suffix, T, I, dtype)">
<% lanes = int(T.removeprefix(dtype) or 1) %>\
// In each lane the number at table[at * stride], for 0 <= at < rows; else nan. Nothing outside of the table is read.
static inline ${T} lookup_${suffix}(const __global ${dtype} *table, ${I} at, ${'int' if dtype == 'float' else 'long'} rows, long stride) {
% if lanes == 1:
    return at >= 0 && at < rows ? table[(long)at * stride] : (${T})(NAN);
% else:
    ${I} inside = at >= 0 && at < rows;
    ${I} safe = inside ? at : (${I})(0);
    ${T} v;
% for lane in "0123456789abcdef"[:lanes]:
    v.s${lane} = table[(long)safe.s${lane} * stride];
% endfor
    return inside ? v : (${T})(NAN);
% endif
}
</%def>

<%def name="load_four(suffix, T, I, dtype)">
// Number part of the four at start + 4 * at, which begin at a multiple of their size: one load, if all four are read.
static inline ${dtype} load_four_${suffix}(const __global ${dtype} *start, int at, int part) {
    const ${dtype}4 four = ((const __global ${dtype}4 *)start)[at];
    return part == 0 ? four.s0 : part == 1 ? four.s1 : part == 2 ? four.s2 : four.s3;
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
