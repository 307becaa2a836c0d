## Functions of kernels with lists of the K nearest. Each def is a helper; a kernel lists the names of its helpers.
<%!
    from clreduce.codegen.mathematics import bits, lit
%>
## Appends terms to the queue of a list; clreduce/codegen/queue.py explains why.
<%def name="append_terms(facts, kernel, text)">\
<%
    lanes = kernel.lanes
    inum = {"float": "int", "double": "long"}[kernel.dtype]
%>\
// The position of the lowest bit that is set; to PoCL, clz() is a call. PLAIN_OPENCL_C: without what only compilers know.
#if defined(__clang__) && !defined(PLAIN_OPENCL_C)
#define LOWEST_BIT(n) ((int)__builtin_ctzl(n))
#else
#define LOWEST_BIT(n) (63 - (int)clz((n) & -(n)))
#endif

// Eight bits of each lane.
<% packed = {1: "ulong", 2: "ushort", 4: "uint", 8: "ulong", 16: "ulong2"}[lanes] %>\
typedef ${packed} marks;
static inline marks marks_of(inumv m) {
% if lanes == 1:
    return (ulong)m;
% else:
    return as_${packed}(convert_uchar${lanes}(as_u${inum}${lanes}(m)));
% endif
}

// Adds terms to the lists of lanes: terms[c] with the index j + c, for c below 8, to that of each lane where bit c of m
// is set. Few are, so they are taken one by one. Entry n of lane l is at n * lanes + l; counts: the lengths of the lists,
// most: that of the longest.
static inline void append_terms(real *values, inum *indices, inum *counts, int *most, marks m, const realv *terms, inum j) {
% if lanes == 1:
    ulong left = m;
    while (left) {
        int bit = LOWEST_BIT(left), c = bit, l = 0;
        left &= left - 1;
% elif lanes == 16:
    ulong left = m.x, other = m.y;
    while (left | other) {  // one loop for both halves: where it ends can't be foreseen
        int upper = left == 0;
        ulong word = upper ? other : left;
        int bit = LOWEST_BIT(word), c = bit % 8, l = bit / 8 + 8 * upper;
        other = upper ? word & (word - 1) : other;
        left &= left - 1;
% else:
    ulong left = m;
    while (left) {
        int bit = LOWEST_BIT(left), c = bit % 8, l = bit / 8;
        left &= left - 1;
% endif
        int n = counts[l];
        values[n * ${lanes} + l] = ((const real*)terms)[c * ${lanes} + l];
        indices[n * ${lanes} + l] = j + c;
        counts[l] = n + 1;
        *most = n < *most ? *most : n + 1;
    }
}
</%def>
## Finds the limit for a list of `count` terms from the first terms of chunks; see clreduce/codegen/prefilter.py.
<%def name="limit_of(facts, kernel, text)">\
<%
    dtype, lanes = kernel.dtype, kernel.lanes
    width = "" if lanes == 1 else str(lanes)
    T, I = dtype + width, {"float": "int", "double": "long"}[dtype] + width
    U, sign = "u" + I, bits(dtype).sign
    before, beyond = ("<", "+") if facts.rising else (">", "-")
    add = "+=" if lanes == 1 else "-="
    # More than the distance to the next number, which may not be subnormal: some drivers take those for 0.
    apart, least = {"float": (2.0**-22, 2.0**-126), "double": (2.0**-51, 2.0**-1022)}[dtype]
    count = facts.count
%>\
// The numbers in their order, as unsigned integers, and back.
static inline ${U} rank_of(realv x) {
    ${U} b = as_${U}(x);
    return as_${I}(b) < (${I})(0) ? ~b : b | (${U})(${sign});
}

static inline realv of_rank(${U} n) {
    return as_${T}(as_${I}(n) < (${I})(0) ? n ^ (${U})(${sign}) : ~n);
}

// A limit just beyond a number up to which ${count} of these terms go, and few more; last, if that comes before.
// Adds to many whether more than ${facts.many} chunks begin before last, of a list that is full.
static inline realv limit_of(realv *firsts, int chunks, realv last, int *many) {
    // The search goes through all chunks many times: two are made one while there are plenty.
    while (chunks >= ${2 * facts.plenty}) {
        chunks /= 2;
        for (int c = 0; c < chunks; ++c) firsts[c] = firsts[2 * c] ${before} firsts[2 * c + 1] ? firsts[2 * c] : firsts[2 * c + 1];
    }
    inumv found = (inumv)(0);
    realv first = last, end = (realv)(${"-" if facts.rising else ""}INFINITY);
    for (int c = 0; c < chunks; ++c) {
        found ${add} firsts[c] ${before} last;
        first = firsts[c] ${before} first ? firsts[c] : first;
        end = end ${before} firsts[c] ? firsts[c] : end;
    }
    *many |= ANY(found > (inumv)(${facts.many}) && last ${before} (realv)(${"" if facts.rising else "-"}INFINITY));
    if (!ANY(found > (inumv)(${count}))) return last;
    ${U} low = rank_of(first), high = rank_of(end);
    for (int step = 0; step < 16 && ANY(found > (inumv)(${count + count // 8})); ++step) {
        ${U} middle = (low & high) + ((low ^ high) >> 1);
        realv tried = of_rank(middle);
        inumv reached = (inumv)(0);
        for (int c = 0; c < chunks; ++c) reached ${add} firsts[c] ${before}= tried;
        inumv enough = reached >= (inumv)(${count});
        low = enough ? low : middle;
        high = enough ? middle : high;
        found = enough ? reached : found;
    }
    realv limit = of_rank(high);
    limit = limit ${beyond} ((limit < (realv)(0) ? -limit : limit) * ${lit(apart, dtype)} + ${lit(least, dtype)});
    return limit ${before} last ? limit : last;  // nan, from the infinity before all numbers, is no limit
}
</%def>
## Merges the terms of a queue into a sorted list; see clreduce/codegen/sorting.py.
<%def name="enter_terms(sorting, kernel, text)">\
<%
    lists = "realv *values, inumv *indices, realv *queued, inumv *numbers" if sorting.indexed else "realv *values, realv *queued"
    before = sorting.before
%>\
% if sorting.indexed:
// Puts two terms in order, and their indices with them; of equals the one with the lower index is first.
static inline void in_order(realv *a, inumv *m, realv *b, inumv *n) {
    const inumv swap = (*b ${before} *a) | ((*b == *a) & (*n < *m));
    const realv first = swap ? *b : *a, second = swap ? *a : *b;
    const inumv lower = swap ? *n : *m, upper = swap ? *m : *n;
    *a = first, *b = second, *m = lower, *n = upper;
}
% else:
static inline void in_order(realv *a, realv *b) {
    const realv first = *b ${before} *a ? *b : *a, second = *b ${before} *a ? *a : *b;
    *a = first, *b = second;
}
% endif

// The first ${sorting.count} of the terms of a list and of a queue, in order; the queue is empty then. Before the list's terms, ${sorting.padding} places
// hold what comes before all.
WHOLE_VECTORS static void enter_terms(${lists}) {
% for one in sorting.queue_passes:
${step(one, sorting.length, "queued", "numbers", sorting.indexed)}\
% endfor
    // The list from its end against the queue from its start: the first of each two are the first of all. They rise, and
    // then fall.
    for (int i = 0; i < ${min(sorting.count, sorting.length)}; ++i) {
        realv a = values[${sorting.places - 1} - i], b = queued[i];
% if sorting.indexed:
        inumv m = indices[${sorting.places - 1} - i], n = numbers[i];
        in_order(&a, &m, &b, &n);
        indices[${sorting.places - 1} - i] = m;
% else:
        in_order(&a, &b);
% endif
        values[${sorting.places - 1} - i] = a;
    }
% for one in sorting.list_passes:
${step(one, sorting.places, "values", "indices", sorting.indexed)}\
% endfor
    for (int i = 0; i < ${sorting.length}; ++i) queued[i] = (realv)(${text(sorting.empty)});
}
</%def>
<%def name="step(one, length, values, indices, indexed)">\
<% places = [f"block + {first} {'+' if sign > 0 else '-'} i" for first, sign in one.places] %>\
    for (int block = 0; block < ${length}; block += ${one.block}) {
        for (int i = 0; i < ${one.width}; ++i) {
% for k, place in enumerate(places):
            realv v${k} = ${values}[${place}];
% if indexed:
            inumv n${k} = ${indices}[${place}];
% endif
% endfor
% for a, b in one.pairs:
            in_order(${f"&v{a}, &n{a}, &v{b}, &n{b}" if indexed else f"&v{a}, &v{b}"});
% endfor
% for k, place in enumerate(places):
            ${values}[${place}] = v${k};
% if indexed:
            ${indices}[${place}] = n${k};
% endif
% endfor
        }
    }
</%def>
