// Package procfs finds the processes and the cgroup that a socket of Linux
// belongs to.
package procfs
