## Pieces that the loop templates share.
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
<%def name="rows_of_item(kernel, first, step)">\
  // Rows of this work-item. A row past the end reads the last block of lanes and stores nothing.
  const long last_row = (rows - 1) / ${kernel.lanes} * ${kernel.lanes};
% for r in range(kernel.rows):
  const long wanted_${r} = (${first}) + ${r} * (${step});
  const long row_${r} = min(wanted_${r}, last_row);
  const int count_${r} = (int)min((long)${kernel.lanes}, rows - row_${r});
% endfor
</%def>
<%def name="store_rows(kernel, block, part)">\
% for r in range(kernel.rows):
  if (wanted_${r} < rows) {
    const long out_${r} = (${part}) * rows + row_${r};
${block(kernel.finish[r], 4)}
  }
% endfor
</%def>
