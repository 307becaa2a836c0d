## The direct loop shape, for CPUs: no local memory, no barrier. A work-item keeps rows x lanes rows i and visits the
## columns j of its part, tile by tile; partial sums are flushed after each tile. In a block-sparse call it keeps the
## rows of its task and visits the pieces of j that the task names, each tile by tile.
<%namespace name="common" file="common.cl.mako"/>\
<%namespace name="enter" file="enter.cl.mako"/>\
<%namespace name="limit" file="limit.cl.mako"/>\
<%!
    from clreduce.codegen.schedule import VISITED
%>\
<% preview = kernel.preview %>\
% if preview:
${limit.limit_of(preview, kernel.dtype, kernel.lanes)}
% endif
% if kernel.sorting:
${enter.enter_terms(kernel.sorting, text)}
% endif
${common.begin_kernel(kernel)}\
${common.parameters(kernel)}\
${common.sizes(kernel)}\
{
${common.batch_of_item(kernel, block)}\
% if kernel.task:
${common.task_of_group(kernel)}\
${common.rows_of_item(kernel, "first_row", kernel.lanes)}\
% else:
${common.rows_of_item(kernel, f"(long)get_global_id(0) * {kernel.rows * kernel.lanes}", kernel.lanes)}\
  const long j_begin = (long)get_global_id(1) * part_length;
  const long j_end = min(j_begin + part_length, columns);
% endif
${block(kernel.once, 2)}
${block(kernel.per_i, 2)}
${block(kernel.state, 2)}
% if preview:
% for r in range(kernel.rows):
  realv firsts_${r}[${kernel.tile // kernel.cols}], heads_${r}[${kernel.tile // preview.chunk}];
% if preview.enter:
  realv terms_${r}[${VISITED * kernel.cols}];
  marks marks_${r}[${VISITED * preview.words}];
% endif
% endfor
  int looks = 1;
% endif
${common.begin_piece(kernel)}\
% if preview:
  for (long tile_begin = j_begin, tile_end; tile_begin < j_end; tile_begin = tile_end) {
    tile_end = min(tile_begin + ${kernel.tile}, j_end);
% else:
  for (long tile_begin = j_begin; tile_begin < j_end; tile_begin += ${kernel.tile or ('j_end - j_begin' if kernel.task else 'part_length')}) {
    const long tile_end = ${f"min(tile_begin + {kernel.tile}, j_end)" if kernel.tile else "j_end"};
% endif
% if preview:
${look(preview)}\
% endif
${block(kernel.reset, 4)}
    long j = tile_begin;
% if preview:
${visits(preview)}\
    j = looked_end;
% endif
% if kernel.cols > 1:
    for (; j + ${kernel.cols} <= tile_end; j += ${kernel.cols}) {
${pointers()}\
${block(kernel.body, 6)}
    }
% endif
    for (; j < tile_end; ++j) {
${pointers()}\
${block(kernel.tail, 6)}
    }
${block(kernel.flush, 4)}
  }
${common.end_piece(kernel)}\
${block(kernel.drain, 2)}
${common.store_rows(kernel, block, "(long)get_global_id(1)")}\
}
<%def name="pointers()">\
% for column in kernel.column_inputs:
      const __global ${column.type}* ${column.name}_j = ${column.name} + j * ${column.dim};
% endfor
</%def>
<%def name="visits(preview)">\
    // Blocks of the part that was looked at, some at a time: their numbers are collected without a branch for each.
    int wanted[64];
    for (int block = 0; block < blocks;) {
      int found = 0;
      for (const int end = min(block + 64, blocks); block < end; ++block) {
        wanted[found] = block;
        found += ${" || ".join(f"ANY(firsts_{r}[block] {preview.before} limit_{r})" for r in range(kernel.rows))};
      }
% if preview.enter:
      for (int taken = 0; taken < found; taken += ${VISITED}) {
        const int visited = min(found - taken, ${VISITED});
        for (int visit = 0; visit < visited; ++visit) {
          const long j = tile_begin + (long)wanted[taken + visit] * ${kernel.cols};
${pointers()}\
${block(preview.visit, 10)}
        }
        for (int visit = 0; visit < visited; ++visit) {
          const long j = tile_begin + (long)wanted[taken + visit] * ${kernel.cols};
${block(preview.enter, 10)}
        }
      }
% else:
      for (int taken = 0; taken < found; ++taken) {
        const long j = tile_begin + (long)wanted[taken] * ${kernel.cols};
${pointers()}\
${block(preview.visit, 8)}
      }
% endif
    }
</%def>
<%def name="look(preview)">\
    // Of each block of ${kernel.cols} columns the first term, and of each chunk of ${preview.chunk}; the last that is kept, if that comes
    // before. Not infinity: compilers see in `x < infinity ? x : infinity` no minimum, and take two instructions for it.
    const int looked = looks && tile_end - tile_begin >= ${preview.least};
    const int chunks = looked ? (int)((tile_end - tile_begin) / ${preview.chunk}) : 0;
    const int blocks = chunks * ${preview.chunk // kernel.cols};
    const long looked_end = tile_begin + chunks * ${preview.chunk};
    for (int chunk = 0, block = 0; chunk < chunks; ++chunk) {
% for r in range(kernel.rows):
      realv head_${r} = ${text(preview.last[r])};
% endfor
      for (const int end = block + ${preview.chunk // kernel.cols}; block < end; ++block) {
      const long j = tile_begin + (long)block * ${kernel.cols};
% for r in range(kernel.rows):
      realv first_${r} = ${text(preview.last[r])};
% endfor
${pointers()}\
${block(preview.body, 6)}
% for r in range(kernel.rows):
      firsts_${r}[block] = first_${r};
      head_${r} = first_${r} ${preview.before} head_${r} ? first_${r} : head_${r};
% endfor
      }
% for r in range(kernel.rows):
      heads_${r}[chunk] = head_${r};
% endfor
    }
    int many = 0, entered = 0;
% for r in range(kernel.rows):
    realv limit_${r} = limit_of(heads_${r}, chunks, ${text(preview.last[r])}, &many);
% endfor
    looks = looked ? many : looks;
</%def>
