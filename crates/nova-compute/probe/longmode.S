/*
 * longmode: is KVM really usable on this host?
 *
 * A multiboot kernel of a few instructions that enters 64-bit mode, touches the stack, spins a little and then
 * writes 0x10 to QEMU's isa-debug-exit port, which makes QEMU exit with (0x10 << 1) | 1 = 33.
 *
 * Exit status 33 means: this accelerator runs 64-bit guests. Anything else, a timeout above all, means it does not:
 * some hosts (nested virtualisation under PVM) open /dev/kvm, create a VM and run real and 32-bit mode perfectly
 * well, and hang at the first instruction in long mode. No question put to /dev/kvm finds that out; running does.
 *
 *   qemu-system-x86_64 -M q35 -accel kvm -cpu MODEL -m 16 -nodefaults -no-user-config -display none -no-reboot \
 *     -device isa-debug-exit,iobase=0xf4,iosize=4 -kernel longmode.elf; echo $?
 *
 * Use the CPU model that guests will get. Under TCG it takes 0.1 s; 3 s without an answer is an answer.
 *
 * longmode.elf beside this file is built from it by ./build.sh and checked in (4.5 KB), because nova-compute embeds
 * it and a host that runs Cumulo need not have an assembler.
 */
.code32
.section .text
.globl start

.align 4
multiboot:                              /* version 1, flag 16: load addresses are given here, the ELF header is ignored */
  .long 0x1BADB002, 0x00010000, -(0x1BADB002 + 0x00010000)
  .long multiboot, multiboot, edata, ebss, start

start:
  movl $pdpt, %eax                      /* page tables: one 2 MiB page that maps itself, present and writable */
  orl  $3, %eax
  movl %eax, pml4
  movl $pd, %eax
  orl  $3, %eax
  movl %eax, pdpt
  movl $0x83, pd
  movl $pml4, %eax
  movl %eax, %cr3

  movl %cr4, %eax                       /* CR4.PAE */
  orl  $0x20, %eax
  movl %eax, %cr4
  movl $0xC0000080, %ecx                /* EFER.LME */
  rdmsr
  orl  $0x100, %eax
  wrmsr
  movl %cr0, %eax                       /* CR0.PG and CR0.PE: long mode is active */
  orl  $0x80000001, %eax
  movl %eax, %cr0
  lgdt gdtr
  ljmp $8, $long                        /* and from here the code is 64-bit */

.code64
long:
  movl $stack, %esp
  movq $0x1122334455667788, %rax        /* a value that only 64-bit registers and a 64-bit stack can carry */
  pushq %rax
  popq %rbx
  cmpq %rax, %rbx
  jne  hang
  movl $100000, %ecx                    /* long enough to be interrupted and resumed once or twice */
spin:
  loop spin
  movw $0xf4, %dx
  movb $0x10, %al
  outb %al, %dx
hang:
  hlt
  jmp hang

.align 8
gdt:
  .quad 0, 0x00af9b000000ffff           /* null, 64-bit code */
gdtr:
  .word 15
  .long gdt
edata:

.bss
.align 4096
pml4: .skip 4096
pdpt: .skip 4096
pd:   .skip 4096
.skip 256
stack:
ebss:
