## The tiled loop shape, for GPUs: a work-group stages tiles of the j-variables in local memory and all its items,
## each with rows x lanes rows i, read them from there. All items reach all barriers, even items past the last row.
## In a block-sparse call, a work-group computes one task, whose pieces of j are staged one after the other.
<%! from clreduce.codegen.mathematics import COPIES, ROOTS %>\
<%namespace name="common" file="common.cl.mako"/>\
${common.begin_kernel(kernel)}\
${common.parameters(kernel)}\
${common.sizes(kernel)}\
{
% for column in kernel.column_inputs:
% if column.staged:
  __local ${column.type} ${column.name}_tile[${kernel.tile * column.dim}] __attribute__((aligned(16)));
% endif
% endfor
${common.batch_of_item(kernel, block)}\
  const int item = (int)get_local_id(0);
% if kernel.reads_roots:
  // There are ${COPIES} adjacent copies of each root of 2. Each item reads its own copy, which avoids bank conflicts.
  __local uint2 roots_in_banks[${ROOTS * COPIES}];
  for (int e = item; e < ${ROOTS * COPIES}; e += ${kernel.group}) roots_in_banks[e] = root_of_2_s(e / ${COPIES});
  const __local uint2* roots = roots_in_banks + item % ${COPIES};
% endif
% if kernel.task:
${common.task_of_group(kernel)}\
${common.rows_of_item(kernel, f"first_row + item * {kernel.lanes}", kernel.group * kernel.lanes)}\
% else:
<% group_rows = kernel.group * kernel.rows * kernel.lanes %>\
${common.rows_of_item(kernel, f"(long)(get_global_id(0) / {kernel.group}) * {group_rows} + item * {kernel.lanes}", kernel.group * kernel.lanes)}\
  const long j_begin = (long)get_global_id(1) * part_length;
  const long j_end = min(j_begin + part_length, columns);
% endif
${block(kernel.once, 2)}
${block(kernel.per_i, 2)}
${block(kernel.state, 2)}
${common.begin_piece(kernel)}\
  for (long tile_begin = j_begin; tile_begin < j_end; tile_begin += ${kernel.tile}) {
    const int tile_size = (int)min((long)${kernel.tile}, j_end - tile_begin);
    barrier(CLK_LOCAL_MEM_FENCE);
% for column in kernel.column_inputs:
% if column.staged:
    for (int e = item; e < tile_size * ${column.dim}; e += ${kernel.group})
      ${column.name}_tile[e] = ${column.name}[tile_begin * ${column.dim} + e];
% endif
% endfor
    barrier(CLK_LOCAL_MEM_FENCE);
${block(kernel.reset, 4)}
    int jt = 0;
% if kernel.cols > 1:
    for (; jt + ${kernel.cols} <= tile_size; jt += ${kernel.cols}) {
      const long j = tile_begin + jt;
${block(kernel.body, 6)}
    }
% endif
    for (; jt < tile_size; ++jt) {
      const long j = tile_begin + jt;
${block(kernel.tail, 6)}
    }
${block(kernel.flush, 4)}
  }
${common.end_piece(kernel)}\
${block(kernel.drain, 2)}
% for r in range(kernel.rows):
## The row is computed again here, so that it takes no register while pairs are visited.
<% moved = r * kernel.group * kernel.lanes %>\
% if kernel.task:
  const long stored_${r} = tasks[((long)get_global_id(1) * task_count + task) * 4] + (long)get_local_id(0) * ${kernel.lanes} + ${moved};
% else:
  const long stored_${r} = ((long)get_global_id(0) - (long)get_local_id(0)) * ${kernel.rows * kernel.lanes} + (long)get_local_id(0) * ${kernel.lanes} + ${moved};
% endif
  if (stored_${r} < ${"end_row" if kernel.task else "rows"}) {
    const long row_${r} = stored_${r};
    const int count_${r} = (int)min((long)${kernel.lanes}, ${"end_row" if kernel.task else "rows"} - row_${r});
    const long out_${r} = (long)get_global_id(1) * rows + row_${r};
${block(kernel.finish[r], 4)}
  }
% endfor
}
