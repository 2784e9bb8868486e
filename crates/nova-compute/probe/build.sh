#!/bin/sh
# Assembles longmode.S into longmode.elf (see the top of longmode.S). Needs binutils only; run it after editing the source.
set -eu
cd "$(dirname "$0")"
object=$(mktemp)
trap 'rm -f "$object"' EXIT
as --32 -o "$object" longmode.S
ld -m elf_i386 --omagic --strip-all --no-warn-rwx-segments \
   -Ttext=0x100000 -Tbss=0x101000 -e start -o longmode.elf "$object"
chmod 644 longmode.elf
