## The direct loop shape, for CPUs: no local memory, no barrier. A work-item has rows x lanes rows i and visits the
## columns j of its part, tile by tile; partial sums are flushed after each tile. In a block-sparse call it has the rows
## of its task, and visits the pieces of j in the task, tile by tile.
<%namespace name="common" file="common.cl.mako"/>\
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
${common.begin_piece(kernel)}\
% if kernel.tile_start:
  for (long tile_begin = j_begin, tile_end; tile_begin < j_end; tile_begin = tile_end) {
    tile_end = min(tile_begin + ${kernel.tile}, j_end);
${block(kernel.tile_start, 4)}
% else:
  for (long tile_begin = j_begin; tile_begin < j_end; tile_begin += ${kernel.tile or ('j_end - j_begin' if kernel.task else 'part_length')}) {
    const long tile_end = ${f"min(tile_begin + {kernel.tile}, j_end)" if kernel.tile else "j_end"};
% endif
${block(kernel.reset, 4)}
    long j = ${kernel.first_column.name};
% if kernel.cols > 1:
    for (; j + ${kernel.cols} <= tile_end; j += ${kernel.cols}) {
${block(kernel.body, 6)}
    }
% endif
    for (; j < tile_end; ++j) {
${block(kernel.tail, 6)}
    }
${block(kernel.flush, 4)}
  }
${common.end_piece(kernel)}\
${block(kernel.drain, 2)}
${common.store_rows(kernel, block, "(long)get_global_id(1)")}\
}
