#!/usr/bin/env bash
# Makes spark-2.4/ beside this file with real Spark 2.4.8 from Maven Central, on Java 17 (a JDK). Spark 2.4 is written for Java 8:
# it is told that this is one, given the packages that later Java keeps closed, and a class file reader (xbean-asm6) without its limit on
# the version. What it computes and writes is untouched.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/jars"
python3 - "$work" <<'EOF'
import glob, sys, zipfile
name, folder = "org/apache/xbean/asm6/ClassReader.class", sys.argv[1]
code = zipfile.ZipFile(glob.glob(folder + "/jars/xbean-asm6-shaded-*.jar")[0]).read(name)
assert code.count(b"\x10\x36\xa4") == 1  # bipush 54, if_icmple: the newest class file that it reads
zipfile.ZipFile(folder + "/reader.jar", "w").writestr(name, code.replace(b"\x10\x36\xa4", b"\x10\x41\xa4"))
EOF
opens=()
for package in java.nio java.lang java.lang.invoke java.util java.util.concurrent java.net java.io sun.nio.ch sun.security.action; do
    opens+=(--add-opens "java.base/$package=ALL-UNNAMED")
done
rm -rf "$here/spark-2.4"
java "${opens[@]}" -Djava.version=1.8.0 -cp "$work/reader.jar:$work/jars/*" "$here/Make.java" "$here"
find "$here/spark-2.4" \( -name '*.crc' -o -name _SUCCESS \) -delete
