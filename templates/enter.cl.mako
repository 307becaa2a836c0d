## The terms of a queue enter a sorted list; clreduce/codegen/sorting.py says how.
<%def name="enter_terms(sorting, text)">\
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
