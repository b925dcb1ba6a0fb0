package inuse

import "fmt"

// The kinds of what manages processes on other systems than Linux, in unit.kind.
const (
	brewService     = "brew"             // of Homebrew, which launchd runs
	launchdJob      = "launchd"          // a job of launchd, of the system
	launchdUserJob  = "launchd-user"     // one of the asking user
	launchdSocket   = "launchd-socket"   // launchd itself listens
	airPlay         = "airplay"          // AirPlay Receiver of macOS
	rcService       = "rc"               // of the BSDs' rc.d
	windowsService  = "windows-service"  // of the service control manager
	windowsServices = "windows-services" // several of one process
	windowsDocker   = "windows-docker"   // Docker Desktop
	windowsLinux    = "windows-wsl"      // what passes connections on to a server inside WSL
	windowsTask     = "windows-task"     // a process of Windows that is no service
	windowsKernel   = "windows-kernel"   // Windows itself, which HTTP.sys and file sharing run in
)

// managers are the remedies that stop what manages a process, the best one first.
var managers = map[string][]string{
	brewService:     {"stop-brew"},
	launchdJob:      {"stop-launchd-job"},
	launchdUserJob:  {"stop-launchd-job"},
	launchdSocket:   {"switch-off-sharing"},
	airPlay:         {"switch-off-airplay"},
	rcService:       {"stop-rc-service"},
	windowsService:  {"stop-windows-service"},
	windowsServices: {"find-services"},
	windowsDocker:   {"find-publisher"},
	windowsLinux:    {"find-wsl"},
	windowsTask:     {"end-task", "end-task-by-force"},
	windowsKernel:   {"find-http"},
}

// managed returns the remedies for what manages a process, and their facts. There are
// none if it is nothing of this file.
func (u unit) managed(me asker) (kinds []string, known facts) {
	domain := "system"
	if u.kind == launchdUserJob {
		domain = fmt.Sprintf("gui/%d", me.uid)
	}
	return managers[u.kind], facts{"unit": u.name, "domain": domain}
}
