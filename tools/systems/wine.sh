#!/usr/bin/env bash
# wine.sh BINARY [ARGUMENT...]: executes a test binary for Windows on Wine, for go test:
#
#     GOOS=windows go test -exec "$PWD/tools/systems/wine.sh" -run 'SocketRows|WindowsCensus|FindOnWindows' ./inuse
#
# It needs Debian's packages wine64 and, while Wine lacks a library that Go's programs
# start with, gcc-mingw-w64-x86-64-win32.
set -euo pipefail
export WINEPREFIX=${XDG_CACHE_HOME:-$HOME/.cache}/reuse/systems/wine WINEDEBUG=-all
wine=$(command -v wine64 || echo /usr/lib/wine/wine64)
library=$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll
if ! [ -e "$library" ]; then
	mkdir -p "$(dirname "$WINEPREFIX")"
	"$wine" wineboot --init >/dev/null 2>&1
	temp=$(mktemp -d)
	cat >"$temp/prng.c" <<-'END'
		#include <windows.h>
		BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
		__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE p, SIZE_T n) { return SystemFunction036(p, (ULONG)n); }
	END
	x86_64-w64-mingw32-gcc -shared -O -o "$temp/prng.dll" "$temp/prng.c" -ladvapi32
	mv "$temp/prng.dll" "$library"
	rm -r "$temp"
fi
exec "$wine" "$@"
