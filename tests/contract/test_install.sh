#!/usr/bin/env bash
# What `cmake --install` lays down is enough to build against: headers, library, pkg-config file, in any folder.
set -euo pipefail

fail() { echo "FAIL: $*" >&2; exit 1; }

build=${BUILD_DIR:?set by ctest}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/first" >"$work/log" 2>&1 || { cat "$work/log"; fail "cmake --install"; }
mv "$work/first" "$work/moved" # nothing in it may remember where it was
pc=$(find "$work/moved" -name millrace.pc -print -quit)
[ -n "$pc" ] || fail "no millrace.pc among what was installed: $(cat "$work/log")"
export PKG_CONFIG_PATH=${pc%/*}

cat >"$work/user.c" <<'EOF'
#include <stdio.h>
#include <string.h>

#include "millrace/status.h"

int main(void)
{
    struct mr_err err;
    if (mr_fail(&err, MR_ECONFIG, "line %d", 7) != MR_ECONFIG || strcmp(err.text, "line 7") != 0) return 1;
    printf("%s %d\n", mr_status_name(MR_ECONFIG), mr_status_exit(MR_ECONFIG));
    return 0;
}
EOF
# A library built with a sanitizer needs it in the program, too.
sanitize=$(sed -n 's/^MILLRACE_SANITIZE:[A-Z]*=\(..*\)/-fsanitize=\1/p' "$build/CMakeCache.txt")
compiler=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$build/CMakeCache.txt")
read -ra flags <<<"$sanitize $(pkg-config --cflags --libs millrace)"
"$compiler" -std=c17 -Wall -Wextra -Werror "$work/user.c" -o "$work/user" "${flags[@]}"
said=$("$work/user")
[ "$said" = "config 78" ] || fail "a program built against the installed library says \"$said\", not \"config 78\""

# Every public header stands on its own.
read -ra flags <<<"$(pkg-config --cflags millrace)"
for header in "$work"/moved/include/millrace/*.h; do
    printf '#include "millrace/%s"\n' "${header##*/}" >"$work/alone.c"
    "$compiler" -std=c17 -Wall -Wextra -Werror -fsyntax-only "$work/alone.c" "${flags[@]}" || fail "${header##*/} alone, in C"
done

version=$(pkg-config --modversion millrace)
"$work/moved/bin/millrace" version | grep -qF "$version" || fail "the installed program is not version $version"
echo "installed, moved, compiled against, run: version $version"
