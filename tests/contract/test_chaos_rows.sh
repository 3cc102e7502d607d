#!/bin/sh
# Every crash point that the code names is killed at in some row of scripts/chaos, and no row names one that is gone.
command -v python3 >/dev/null || { echo "SKIP: python3 is not installed"; exit 77; }
exec scripts/chaos --list
