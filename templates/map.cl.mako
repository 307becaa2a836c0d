## Computes one vector per row and stores it, lanes over rows: values that the pair kernel reads ready-made.
<%namespace name="common" file="common.cl.mako"/>\
__kernel __attribute__((reqd_work_group_size(${kernel.group}, 1, 1)))
void ${kernel.name}(
${common.parameters(kernel)}\
    const long rows)
{
${common.batch_of_item(kernel, block)}\
  const long wanted_0 = (long)get_global_id(0) * ${kernel.lanes};
  if (wanted_0 >= rows) return;
  const long row_0 = wanted_0;
  const int count_0 = (int)min((long)${kernel.lanes}, rows - row_0);
${block(kernel.once, 2)}
${block(kernel.per_i, 2)}
}
