#!/usr/bin/env bash
# On x86: compiles the kernels for arm64 and runs the parity test under qemu, so that NEON is tested where there is none.
set -euo pipefail
[ "$(uname -m)" != aarch64 ] || { echo "SKIP: on arm64 parity.kernels itself runs NEON"; exit 77; }
compiler=$(command -v aarch64-linux-gnu-gcc || command -v aarch64-linux-gnu-gcc-12) ||
  { echo "SKIP: no aarch64-linux-gnu-gcc (apt-get install gcc-12-aarch64-linux-gnu libc6-dev-arm64-cross)"; exit 77; }
qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static) || { echo "SKIP: no qemu-aarch64 (apt-get install qemu-user)"; exit 77; }
[ -e /usr/aarch64-linux-gnu/include/stdio.h ] || { echo "SKIP: no C library for arm64 (apt-get install libc6-dev-arm64-cross)"; exit 77; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags=(-std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -Iinclude -I.)
objects=()
build() { # SOURCE OBJECT [flags]
  "$compiler" "${flags[@]}" "${@:3}" -c "$1" -o "$work/$2"
  objects+=("$work/$2")
}
for source in kernels/*.c kernels/*/*.c; do
  name=$(basename "$source" .c)
  case $name in
  *_simd) for variant in base neon; do build "$source" "${name}_$variant.o" -DMR_VARIANT="$variant"; done ;;
  *_avx512) ;;
  *) build "$source" "$name.o" ;;
  esac
done
for test in kernels kmeans sums mlp_gradient; do
  "$compiler" "${flags[@]}" -DCASES_EVERY_CPU=3 -Itests/parity/cross -Itests -c "tests/parity/test_$test.c" -o "$work/test_$test.o"
  "$compiler" -static "$work/test_$test.o" "${objects[@]}" -o "$work/$test" -lm
  "$qemu" "$work/$test" neon | tee -a "$work/log"
done
for op in mlp_forward linear_score kmeans_assign scale linear_sum kmeans_sum moments mlp_gradient; do
  grep -q "^${op}_neon: [0-9]* cases agree" "$work/log"
done
