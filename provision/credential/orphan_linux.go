package credential

import "syscall"

// dieWithUs has the kernel kill a process when the one that started it ends,
// however that ends.
func dieWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
