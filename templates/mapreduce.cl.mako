## The direct loop shape, for CPUs: no local memory, no barrier. A work-item keeps rows x lanes rows i and visits the
## columns j of its part, tile by tile; partial sums are flushed after each tile. In a block-sparse call it keeps the
## rows of its task and visits the pieces of j that the task names, each tile by tile.
<%namespace name="common" file="common.cl.mako"/>\
<%namespace name="limit" file="limit.cl.mako"/>\
<% preview = kernel.preview %>\
% if preview:
${limit.limit_of(preview, kernel.dtype, kernel.lanes)}
% endif
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void ${kernel.name}(
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
  realv firsts_${r}[${kernel.tile // preview.chunk}];
% endfor
% endif
${common.begin_piece(kernel)}\
  for (long tile_begin = j_begin; tile_begin < j_end; tile_begin += ${kernel.tile or ('j_end - j_begin' if kernel.task else 'part_length')}) {
    const long tile_end = ${f"min(tile_begin + {kernel.tile}, j_end)" if kernel.tile else "j_end"};
% if preview:
${look(preview)}\
% endif
${block(kernel.reset, 4)}
    long j = tile_begin;
% if kernel.cols > 1 or preview:
    for (; j + ${kernel.cols} <= tile_end; j += ${kernel.cols}) {
% if preview:
      const int chunk = (int)(j - tile_begin) / ${preview.chunk};
      if (chunk < chunks && !(${" || ".join(f"ANY(firsts_{r}[chunk] {preview.before} limit_{r})" for r in range(kernel.rows))})) {
        j = tile_begin + (chunk + 1L) * ${preview.chunk} - ${kernel.cols};
        continue;
      }
% endif
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
<%def name="look(preview)">\
    const int chunks = tile_end - tile_begin < ${preview.least} ? 0 : (int)((tile_end - tile_begin) / ${preview.chunk});
    for (int chunk = 0; chunk < chunks; ++chunk) {
      long j = tile_begin + (long)chunk * ${preview.chunk};
% for r in range(kernel.rows):
      realv first_${r} = (realv)(${preview.neutral});
% endfor
      for (const long chunk_end = j + ${preview.chunk}; j < chunk_end; j += ${kernel.cols}) {
${pointers()}\
${block(preview.body, 8)}
      }
% for r in range(kernel.rows):
      firsts_${r}[chunk] = first_${r};
% endfor
    }
% for r in range(kernel.rows):
    realv limit_${r} = limit_of(firsts_${r}, chunks, ${preview.last[r]});
% endfor
</%def>
