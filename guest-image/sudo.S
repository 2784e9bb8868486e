/*
 * sudo for a guest with one user: become root, then hand over to /usr/lib/cumulo/sudo, a shell script.
 * A script cannot be setuid, so these few instructions are; in assembler, because then the build needs no compiler.
 * On entry the stack holds argc, argv[0], argv[1] ... 0, environment. Overwriting argc and argv[0] with
 * "sh" and the script's path makes just the argument list that execve wants.
 */
.globl _start
_start:
  movq (%rsp), %rbx
  leaq 16(%rsp,%rbx,8), %rdx            /* the environment */
  xorl %edi, %edi
  movl $106, %eax                       /* setgid(0) */
  syscall
  xorl %edi, %edi
  movl $105, %eax                       /* setuid(0) */
  syscall
  leaq shell(%rip), %rdi
  leaq script(%rip), %rax
  movq %rdi, (%rsp)
  movq %rax, 8(%rsp)
  movq %rsp, %rsi
  movl $59, %eax                        /* execve */
  syscall
  movl $126, %edi
  movl $60, %eax                        /* exit */
  syscall
shell:  .asciz "/bin/sh"
script: .asciz "/usr/lib/cumulo/sudo"
