// Package procfs finds the processes and the cgroup that a socket of Linux
// belongs to, and what is known of them.
package procfs
