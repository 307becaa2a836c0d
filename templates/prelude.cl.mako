<%doc>
The start of every kernel: types, masks, loads and stores of lanes, own mathematics.
Reads: dtype ("float" | "double"), lanes (1, 2, 4, 8, 16), functions (names of own functions).
A quantity that depends on i is a lane vector (realv, inumv: `lanes` consecutive i), any other a scalar (real, inum).
</%doc>
<%namespace name="own" file="functions.cl.mako"/>\
<%
    inum = {"float": "int", "double": "long"}[dtype]
    width = "" if lanes == 1 else str(lanes)
    realv, inumv = dtype + width, inum + width
    lane_names = ["s" + "0123456789abcdef"[k] for k in range(lanes)]
%>\
% if dtype == "double":
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
% endif
#ifdef __clang__
#pragma clang diagnostic ignored "-Wpsabi"  // all functions are inlined: how vectors are passed doesn't matter
#endif

typedef ${dtype} real;
typedef ${inum} inum;  // the integer as wide as real
typedef ${realv} realv;
typedef ${inumv} inumv;

// Builtins of the driver's compiler that are not part of OpenCL C. PLAIN_OPENCL_C is set if they failed in a trial.
#if defined(__has_builtin) && !defined(PLAIN_OPENCL_C)
#define HAS_BUILTIN(name) __has_builtin(name)
#else
#define HAS_BUILTIN(name) 0
#endif

// For functions that are too long to be inlined. Without it, compilers cut their vectors in halves on AVX-512.
#if defined(__has_attribute) && !defined(PLAIN_OPENCL_C)
#if __has_attribute(min_vector_width)
#define WHOLE_VECTORS __attribute__((min_vector_width(${lanes * 8 * (4 if dtype == "float" else 8)})))
#endif
#endif
#ifndef WHOLE_VECTORS
#define WHOLE_VECTORS
#endif

// Registers as tables: the lowest bits of each lane select its number. This needs a compiler that targets the processor
// directly: in a portable form, lanes would take their numbers one after the other.
#if defined(__AVX512F__) && HAS_BUILTIN(__builtin_ia32_vpermi2vard512) && HAS_BUILTIN(__builtin_ia32_permvardi512)
#define TABLES_OF_512_BITS
#endif
#if defined(__AVX2__) && HAS_BUILTIN(__builtin_ia32_permvarsi256)
#define TABLES_OF_256_BITS
#endif

// A comparison of scalars gives 0 or 1, one of vectors 0 or -1 in each lane.
% if lanes == 1:
#define MASKV(m) (m)
#define ANY(m) (m)
% else:
#define MASKV(m) ((inumv)(-(inum)(m)))
#define ANY(m) some_lane(m)

// Whether a mask is true in some lane. Compilers turn this into one test of a register's sign bits. PoCL's any() takes
// lanes one by one, with branches. LLVM 14 has the builtin, but aborts the process on some processors.
#if HAS_BUILTIN(__builtin_reduce_or) && __clang_major__ >= 15
#define REDUCE_OR(m) __builtin_reduce_or(m)
#endif
static inline int some_lane(inumv m) {
#ifdef REDUCE_OR
    return REDUCE_OR(m) != 0;
#else
% if lanes == 16:
    return as_ulong(convert_char8(m.lo | m.hi)) != 0;
% else:
    return as_${ {2: "ushort", 4: "uint", 8: "ulong"}[lanes] }(convert_char${lanes}(m)) != 0;
% endif
#endif
}
% endif

// Lane l is p[min(l, count - 1) * stride]: lanes past the end (count < lanes) repeat the last one. count >= 1.
static inline realv load_lanes(const __global real *p, long stride, int count) {
% if lanes == 1:
    return p[0];
% else:
    if (stride == 1 && count >= ${lanes}) return vload${lanes}(0, p);
    int last = count - 1;
    realv v;
% for name in lane_names:
    v.${name} = p[min(${loop.index}, last) * stride];
% endfor
    return v;
% endif
}

// Lanes l < count go to p[l * stride].
static inline void store_lanes(__global real *p, long stride, realv v, int count) {
% if lanes == 1:
    if (count > 0) p[0] = v;
% else:
    if (stride == 1 && count >= ${lanes}) {
        vstore${lanes}(v, 0, p);
        return;
    }
% for name in lane_names:
    if (${loop.index} < count) p[${loop.index} * stride] = v.${name};
% endfor
% endif
}

// An index minus base, as inum. It saturates: an index far outside stays outside, instead of wrapping to a valid one.
static inline inum narrow_index(long index, long base) {
    index = sub_sat(index, base);
% if dtype == "float":
    return (inum)clamp(index, (long)INT_MIN, (long)INT_MAX);
% else:
    return index;
% endif
}

static inline inumv load_index(const __global long *p, long stride, int count, long base) {
% if lanes == 1:
    return narrow_index(p[0], base);
% else:
    int last = count - 1;
    inumv v;
% for name in lane_names:
    v.${name} = narrow_index(p[min(${loop.index}, last) * stride], base);
% endfor
    return v;
% endif
}

// A negative index means none and is stored as -1.
static inline void store_index(__global long *p, long stride, inumv v, int count, long base) {
% if lanes == 1:
    if (count > 0) p[0] = v < 0 ? -1 : (long)v + base;
% else:
    if (stride == 1 && count >= ${lanes}) {
        const long${lanes} whole = convert_long${lanes}(v);
        vstore${lanes}(whole < (long${lanes})(0) ? (long${lanes})(-1) : whole + base, 0, p);
        return;
    }
% for name in lane_names:
    if (${loop.index} < count) p[${loop.index} * stride] = v.${name} < 0 ? -1 : (long)v.${name} + base;
% endfor
% endif
}
% if functions:

${capture(own.written, functions, realv, inumv, dtype, inum, dtype).strip()}
% endif
