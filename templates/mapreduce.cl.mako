## The direct loop shape, for CPUs: no local memory, no barrier. A work-item keeps rows x lanes rows i and visits the
## columns j of its part, tile by tile; partial sums are flushed after each tile.
<%namespace name="common" file="common.cl.mako"/>\
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void ${kernel.name}(
${common.parameters(kernel)}\
    const long rows,
    const long columns,
    const long part_length)
{
${common.batch_of_item(kernel, block)}\
${common.rows_of_item(kernel, f"(long)get_global_id(0) * {kernel.rows * kernel.lanes}", kernel.lanes)}\
  const long j_begin = (long)get_global_id(1) * part_length;
  const long j_end = min(j_begin + part_length, columns);
${block(kernel.once, 2)}
${block(kernel.per_i, 2)}
${block(kernel.state, 2)}
  for (long tile_begin = j_begin; tile_begin < j_end; tile_begin += ${kernel.tile or 'part_length'}) {
    const long tile_end = ${f"min(tile_begin + {kernel.tile}, j_end)" if kernel.tile else "j_end"};
${block(kernel.reset, 4)}
    long j = tile_begin;
% if kernel.cols > 1:
    for (; j + ${kernel.cols} <= tile_end; j += ${kernel.cols}) {
% for column in kernel.column_inputs:
      const __global ${column.type}* ${column.name}_j = ${column.name} + j * ${column.dim};
% endfor
${block(kernel.body, 6)}
    }
% endif
    for (; j < tile_end; ++j) {
% for column in kernel.column_inputs:
      const __global ${column.type}* ${column.name}_j = ${column.name} + j * ${column.dim};
% endfor
${block(kernel.tail, 6)}
    }
${block(kernel.flush, 4)}
  }
${common.store_rows(kernel, block, "(long)get_global_id(1)")}\
}
