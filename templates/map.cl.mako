## Computes and stores one vector per row for the pair kernel; lanes run over rows. In a block-sparse call, the rows are
## those of all tasks, and each task takes as many rows as the longest can have.
<%namespace name="common" file="common.cl.mako"/>\
${common.begin_kernel(kernel)}\
${common.parameters(kernel)}\
    const long rows${"".join(f", const long {name}" for name in kernel.origin)})
{
${common.batch_of_item(kernel, block)}\
  const long wanted_0 = (long)get_global_id(0) * ${kernel.lanes};
  if (wanted_0 >= rows) return;
% if kernel.task:
  const __global long* task_entry = tasks + wanted_0 / ${kernel.task} * 4;
  const long first_row = task_entry[0], end_row = task_entry[1];
  const long last_row = first_row + (end_row - 1 - first_row) / ${kernel.lanes} * ${kernel.lanes};
  const long row_0 = min(first_row + wanted_0 % ${kernel.task}, last_row);
  const int count_0 = (int)min((long)${kernel.lanes}, end_row - row_0);
% else:
  const long row_0 = wanted_0;
  const int count_0 = (int)min((long)${kernel.lanes}, rows - row_0);
% endif
${block(kernel.once, 2)}
${block(kernel.per_i, 2)}
}
