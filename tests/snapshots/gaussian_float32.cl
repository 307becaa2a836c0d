__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(float8)))
void map_reduce(
    __global real* restrict out0,
    const __global real* restrict v0,
    const __global real* restrict v1,
    const __global real* restrict v2,
    const __global real* restrict v3,
    const long rows,
    const long columns,
    const long part_length)
{
  // Rows of this work-item. A row past the end reads the last block of lanes and stores nothing.
  const long last_row = (rows - 1) / 8 * 8;
  const long wanted_0 = ((long)get_global_id(0) * 16) + 0 * (8);
  const long row_0 = min(wanted_0, last_row);
  const int count_0 = (int)min((long)8, rows - row_0);
  const long wanted_1 = ((long)get_global_id(0) * 16) + 1 * (8);
  const long row_1 = min(wanted_1, last_row);
  const int count_1 = (int)min((long)8, rows - row_1);
  const long j_begin = (long)get_global_id(1) * part_length;
  const long j_end = min(j_begin + part_length, columns);
  const real t11 = v2[0];
  const realv t2 = load_lanes(v0 + row_0 * 3 + 0, 3, count_0);
  const realv t5 = load_lanes(v0 + row_0 * 3 + 1, 3, count_0);
  const realv t8 = load_lanes(v0 + row_0 * 3 + 2, 3, count_0);
  const realv t17 = load_lanes(v0 + row_1 * 3 + 0, 3, count_1);
  const realv t19 = load_lanes(v0 + row_1 * 3 + 1, 3, count_1);
  const realv t21 = load_lanes(v0 + row_1 * 3 + 2, 3, count_1);
  realv s0_0_0 = (realv)(0.0f);
  realv s0_0_1 = (realv)(0.0f);
  for (long tile_begin = j_begin; tile_begin < j_end; tile_begin += 256) {
    const long tile_end = min(tile_begin + 256, j_end);
    realv b0_0_0 = (realv)(0.0f);
    realv b0_0_1 = (realv)(0.0f);
    long j = tile_begin;
    for (; j + 2 <= tile_end; j += 2) {
      const __global real* v1_j = v1 + j * 3;
      const __global real* v3_j = v3 + j * 1;
      const real t3 = v1_j[0];
      const realv t4 = t2 - t3;
      const real t6 = v1_j[1];
      const realv t7 = t5 - t6;
      const real t9 = v1_j[2];
      const realv t10 = t8 - t9;
      const realv t1 = t4 * t4 + t7 * t7 + t10 * t10;
      const realv t12 = t1 * t11;
      const realv t13 = -t12;
      const realv t14 = exp_v(t13);
      const real t15 = v3_j[0];
      const realv t18 = t17 - t3;
      const realv t20 = t19 - t6;
      const realv t22 = t21 - t9;
      const realv t16 = t18 * t18 + t20 * t20 + t22 * t22;
      const realv t23 = t16 * t11;
      const realv t24 = -t23;
      const realv t25 = exp_v(t24);
      const real t27 = v1_j[3];
      const realv t28 = t2 - t27;
      const real t29 = v1_j[4];
      const realv t30 = t5 - t29;
      const real t31 = v1_j[5];
      const realv t32 = t8 - t31;
      const realv t26 = t28 * t28 + t30 * t30 + t32 * t32;
      const realv t33 = t26 * t11;
      const realv t34 = -t33;
      const realv t35 = exp_v(t34);
      const real t36 = v3_j[1];
      const realv t38 = t17 - t27;
      const realv t39 = t19 - t29;
      const realv t40 = t21 - t31;
      const realv t37 = t38 * t38 + t39 * t39 + t40 * t40;
      const realv t41 = t37 * t11;
      const realv t42 = -t41;
      const realv t43 = exp_v(t42);
      const realv t44 = b0_0_0 + t14 * t15;
      const realv t45 = t44 + t35 * t36;
      const realv t46 = b0_0_1 + t25 * t15;
      const realv t47 = t46 + t43 * t36;
      b0_0_0 = t45;
      b0_0_1 = t47;
    }
    for (; j < tile_end; ++j) {
      const __global real* v1_j = v1 + j * 3;
      const __global real* v3_j = v3 + j * 1;
      const real t49 = v1_j[0];
      const realv t50 = t2 - t49;
      const real t51 = v1_j[1];
      const realv t52 = t5 - t51;
      const real t53 = v1_j[2];
      const realv t54 = t8 - t53;
      const realv t48 = t50 * t50 + t52 * t52 + t54 * t54;
      const realv t55 = t48 * t11;
      const realv t56 = -t55;
      const realv t57 = exp_v(t56);
      const real t58 = v3_j[0];
      const realv t60 = t17 - t49;
      const realv t61 = t19 - t51;
      const realv t62 = t21 - t53;
      const realv t59 = t60 * t60 + t61 * t61 + t62 * t62;
      const realv t63 = t59 * t11;
      const realv t64 = -t63;
      const realv t65 = exp_v(t64);
      const realv t66 = b0_0_0 + t57 * t58;
      const realv t67 = b0_0_1 + t65 * t58;
      b0_0_0 = t66;
      b0_0_1 = t67;
    }
    const realv t68 = s0_0_0 + b0_0_0;
    const realv t69 = s0_0_1 + b0_0_1;
    s0_0_0 = t68;
    s0_0_1 = t69;
  }

  if (wanted_0 < rows) {
    const long out_0 = ((long)get_global_id(1)) * rows + row_0;
    store_lanes(out0 + out_0 * 1 + 0, 1, s0_0_0, count_0);
  }
  if (wanted_1 < rows) {
    const long out_1 = ((long)get_global_id(1)) * rows + row_1;
    store_lanes(out0 + out_1 * 1 + 0, 1, s0_0_1, count_1);
  }
}
