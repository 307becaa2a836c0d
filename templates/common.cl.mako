## The common parts of the loop templates.
<%def name="begin_kernel(kernel)">\
## A kernel with vectors has a hint for the compiler. Without it, Intel's compiler would try to make vectors of
## work-items, which is useless here and takes up to 18 s. A scalar kernel with groups of one item has the hint, too.
<%
    hint = kernel.lanes if kernel.lanes > 1 else 2 if kernel.group == 1 else 0
    attributes = [f"reqd_work_group_size({kernel.group}, 1, 1)"]
    if hint:
        attributes.append(f"vec_type_hint({kernel.dtype}{hint})")
%>\
__kernel __attribute__((${", ".join(attributes)}))
void ${kernel.name}(
</%def>
<%def name="parameters(kernel)">\
% for argument in kernel.arguments:
    ${'' if argument.written else 'const '}__global ${argument.type}* restrict ${argument.name},
% endfor
</%def>
<%def name="batch_of_item(kernel, block)">\
% if kernel.batch:
  const long batch = (long)get_global_id(2);
${block(kernel.batch, 2)}
% endif
</%def>
<%def name="origin(kernel)">${"".join(f", const long {name}" for name in kernel.origin)}</%def>
<%def name="sizes(kernel)">\
% if kernel.task:
    const long rows,
    const long task_count${origin(kernel)})
% else:
    const long rows,
    const long columns,
    const long part_length${origin(kernel)})
% endif
</%def>
<%def name="task_of_group(kernel)">\
  // The task of this work-group: rows first_row to end_row - 1, with these pieces of j.
  const long task = (long)(get_global_id(0) / ${kernel.group});  // get_group_id begins at 0 in each slice of a call
  const __global long* task_entry = tasks + ((long)get_global_id(1) * task_count + task) * 4;
  const long first_row = task_entry[0], end_row = task_entry[1];
  const long first_piece = task_entry[2], end_piece = task_entry[3];
</%def>
<%def name="begin_piece(kernel)">\
% if kernel.task:
  for (long piece = first_piece; piece < end_piece; ++piece) {
  const long j_begin = pieces[2 * piece], j_end = pieces[2 * piece + 1];
% endif
</%def>
<%def name="end_piece(kernel)">\
% if kernel.task:
  }
% endif
</%def>
<%def name="rows_of_item(kernel, first, step)">\
<% end = "end_row" if kernel.task else "rows" %>\
  // Rows of this work-item. A row past the end reads the last block of lanes and stores nothing.
% if kernel.task:
  const long last_row = first_row + (end_row - 1 - first_row) / ${kernel.lanes} * ${kernel.lanes};
% else:
  const long last_row = (rows - 1) / ${kernel.lanes} * ${kernel.lanes};
% endif
% for r in range(kernel.rows):
  const long wanted_${r} = (${first}) + ${r} * (${step});
  const long row_${r} = min(wanted_${r}, last_row);
  const int count_${r} = (int)min((long)${kernel.lanes}, ${end} - row_${r});
% endfor
</%def>
<%def name="store_rows(kernel, block, part)">\
% for r in range(kernel.rows):
  if (wanted_${r} < ${"end_row" if kernel.task else "rows"}) {
    const long out_${r} = (${part}) * rows + row_${r};
${block(kernel.finish[r], 4)}
  }
% endfor
</%def>
