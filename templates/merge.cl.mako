## Merges the states of the parts of j, in order, and finishes or stores the state: one work-item per row. States that are lists of terms
## are taken term by term.
<%namespace name="common" file="common.cl.mako"/>\
${common.begin_kernel(kernel)}\
${common.parameters(kernel)}\
    const long rows,
    const long ${"resumes" if kernel.joined else "first_column"},
    const long parts)
{
${common.batch_of_item(kernel, block)}\
  const long row_0 = (long)get_global_id(0);
  if (row_0 >= rows) return;
  const long out_0 = row_0;
  const int count_0 = 1;
${block(kernel.once, 2)}
${block(kernel.state, 2)}
% if kernel.joined:
  // If the kernel resumes, its output contains the states of the columns before.
  for (long part = resumes ? -1 : 0; part < parts; ++part) {
% for n in range(kernel.joined):
    const __global ${kernel.arguments[n].type}* state${n} = part < 0 ? out${n} : part${n};
% endfor
% else:
  for (long part = 0; part < parts; ++part) {
% endif
% if kernel.members == 1:
    const long at = ${"max(part, 0L)" if kernel.joined else "part"} * rows + row_0;
${block(kernel.body, 4)}
% else:
    for (int member = 0; member < ${kernel.members}; ++member) {
      const long at = (${"max(part, 0L)" if kernel.joined else "part"} * rows + row_0) * ${kernel.members} + member;
${block(kernel.body, 6)}
    }
% endif
  }
${block(kernel.finish[0], 2)}
}
