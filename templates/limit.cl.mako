## The limit that first terms of chunks set to a list of `count` terms; clreduce/codegen/preview.py says why.
<%!
    from clreduce.codegen.mathematics import bits, lit
%>
<%def name="limit_of(preview, dtype, lanes)">\
<%
    width = "" if lanes == 1 else str(lanes)
    T, I = dtype + width, {"float": "int", "double": "long"}[dtype] + width
    U, sign = "u" + I, bits(dtype).sign
    before, beyond = ("<", "+") if preview.rising else (">", "-")
    add = "+=" if lanes == 1 else "-="
    # More than the distance to the next number, which may not be subnormal: some drivers take those for 0.
    apart, least = {"float": (2.0**-22, 2.0**-126), "double": (2.0**-51, 2.0**-1022)}[dtype]
    count = preview.count
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
// Adds to many whether more than ${preview.many} chunks begin before last, of a list that is full.
static inline realv limit_of(realv *firsts, int chunks, realv last, int *many) {
    // The search goes through all chunks many times: two are made one while there are plenty.
    while (chunks >= ${2 * preview.plenty}) {
        chunks /= 2;
        for (int c = 0; c < chunks; ++c) firsts[c] = firsts[2 * c] ${before} firsts[2 * c + 1] ? firsts[2 * c] : firsts[2 * c + 1];
    }
    inumv found = (inumv)(0);
    realv first = last, end = (realv)(${"-" if preview.rising else ""}INFINITY);
    for (int c = 0; c < chunks; ++c) {
        found ${add} firsts[c] ${before} last;
        first = firsts[c] ${before} first ? firsts[c] : first;
        end = end ${before} firsts[c] ? firsts[c] : end;
    }
    *many |= ANY(found > (inumv)(${preview.many}) && last ${before} (realv)(${"" if preview.rising else "-"}INFINITY));
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
