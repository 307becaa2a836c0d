## Exponentials in double precision that read roots of 2 from local memory, for GPUs: kernels without lanes whose template
## keeps that table. The rules are in functions.cl.mako; fma() is no call on a GPU.
<%!
    import math

    import numpy as np

    from clreduce.codegen.mathematics import COPIES, ROOTS, horner, lit, mantissas_of_roots
%>

<%def name="root_of_2(suffix, T, I, dtype)">\
% if suffix == "v":
// The bits of 2^(n / ${ROOTS}), less those of n as an exponent and a part of the mantissa: n << ${52 - ROOTS.bit_length() + 1} is added to them.
__constant ulong ROOTS_OF_2[${ROOTS}] = {${", ".join(f"{n + (1023 << 52):#x}" for n in mantissas_of_roots(ROOTS, "double"))}};
% endif
static inline uint2 root_of_2_${suffix}(int n) { return as_uint2(ROOTS_OF_2[n]); }
</%def>

<%def name="_exp_by_roots(suffix, kind)">
<%
    # (2^(r / 64) - 1) / r, |r| <= 1/2: relative error of 2^(r / 64) 1.4e-18
    c = [0.010830424696249145, 5.8649049550501825e-05, 2.1173137155854777e-07, 5.732859469262832e-10,
         1.2417751303890807e-12]
    halved = kind == "exp_by_roots"
    magic = lit(1.5 * 2**52 - ROOTS * halved, "double")
    lowest = np.float64((halved - 1023) * math.log(2)).view(np.uint64) >> np.uint64(32)
%>\
// e^x = 2^(n / ${ROOTS}) 2^(r / ${ROOTS}) for GPUs, whose units for double precision are few: what integers do is done by integers.
// The lowest bits of n choose a root of 2 from a table in local memory, the others are the exponent. Where that would be
// too small, x is one whose n is the exponent of 0; the upper half of x tells, and nans, the largest of all, stay.
// Error: 1.1 ulp, and |x| 1.5e-17 of the result; below ${"2^-1021" if halved else "2^-1022"}, where results are 0 or wrong by less than that.
static inline double ${kind}_${suffix}(double x, const __local uint2 *roots) {
    uint2 bits = as_uint2(x);
    bits.y = min(bits.y + 0xfffffu, ${f"{int(lowest):#x}"}u + 0xfffffu) - 0xfffffu;
    x = as_double(bits);
% if halved:
    x = x > 710.0 ? 710.0 : x;  // nan stays
% endif
    double t = fma(x, ${lit(1.4426950408889634 * ROOTS, "double")}, ${magic});
    double r = fma(x, ${lit(1.4426950408889634 * ROOTS, "double")}, -(t - ${magic}));
    int n = as_int2(t).x;
    uint2 root = roots[(n & ${ROOTS - 1}) * ${COPIES}];
    root.y += (uint)n << ${20 - ROOTS.bit_length() + 1};
    double scale = as_double(root);
    scale = (scale * r) * (${horner(c, "r", "double")}) + scale;
    return ${"scale + scale" if halved else "scale"};
}
</%def>

<%def name="exp_by_roots(suffix, T, I, dtype)">${_exp_by_roots(suffix, "exp_by_roots")}</%def>
<%def name="exp_by_roots_never_above_1(suffix, T, I, dtype)">${_exp_by_roots(suffix, "exp_by_roots_never_above_1")}</%def>
