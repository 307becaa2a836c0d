<%doc>
Follows the prelude of a kernel that computes formulas in single precision and keeps sums in double: types, conversions
and stores for what a row keeps, and own mathematics in double precision.
Reads: lanes (1, 2, 4, 8, 16), functions (names of defs of functions.cl.mako).
</%doc>
<%namespace name="own" file="functions.cl.mako"/>\
<%
    width = "" if lanes == 1 else str(lanes)
    widev, wnumv = "double" + width, "long" + width
    lane_names = ["s" + "0123456789abcdef"[k] for k in range(lanes)]
%>\
#pragma OPENCL EXTENSION cl_khr_fp64 : enable

typedef double wide;
typedef long wnum;  // the integer as wide
typedef ${widev} widev;
typedef ${wnumv} wnumv;

#define convert_wide(x) convert_double(x)
#define convert_wnum(x) convert_long(x)
#define convert_widev(x) convert_${widev}(x)
#define convert_wnumv(x) convert_${wnumv}(x)
% if lanes == 1:
#define WIDE_MASKV(m) (m)
% else:
#define WIDE_MASKV(m) ((wnumv)(-(wnum)(m)))
% endif

// Lanes l < count go to p[l * stride].
static inline void store_wide(__global wide *p, long stride, widev v, int count) {
% if lanes == 1:
    if (count > 0) p[0] = v;
% else:
% for name in lane_names:
    if (${loop.index} < count) p[${loop.index} * stride] = v.${name};
% endfor
% endif
}

// Indices of columns fit into the narrower integer.
static inline void store_wide_index(__global long *p, long stride, wnumv v, int count, long base) {
    store_index(p, stride, convert_int${width}(v), count, base);
}
% if functions:

${capture(own.written, functions, widev, wnumv, "double", "long", "double", "w").strip()}
% endif

