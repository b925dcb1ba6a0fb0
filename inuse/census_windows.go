package inuse

import (
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// A winCensus is what Windows tells of processes and services.
type winCensus struct {
	names    map[int]string
	parents  map[int]int
	services map[int][]string // by process
}

// windowsCensus asks for all processes and services. What it is not told is missing.
func windowsCensus() winCensus {
	c := winCensus{names: map[int]string{}, parents: map[int]int{}, services: runningServices()}
	snapshot, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPPROCESS, 0)
	if err != nil {
		return c
	}
	defer windows.CloseHandle(snapshot)
	entry := windows.ProcessEntry32{Size: uint32(unsafe.Sizeof(windows.ProcessEntry32{}))}
	for err = windows.Process32First(snapshot, &entry); err == nil; err = windows.Process32Next(snapshot, &entry) {
		c.names[int(entry.ProcessID)] = windows.UTF16ToString(entry.ExeFile[:])
		c.parents[int(entry.ProcessID)] = int(entry.ParentProcessID)
	}
	return c
}

// process describes the process that has a socket.
func (c winCensus) process(r row) Process {
	p := Process{PID: r.pid, Parent: c.parents[r.pid], State: "running", uid: -1, unit: unit{user: -1, kind: windowsTask}}
	p.Name = c.names[r.pid]
	if h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(r.pid)); err == nil {
		defer windows.CloseHandle(h)
		if p.Name == "" {
			p.Name = imageName(h)
		}
		var created, exited, kernel, user windows.Filetime
		if windows.GetProcessTimes(h, &created, &exited, &kernel, &user) == nil {
			p.Started = time.Unix(0, created.Nanoseconds())
		}
	}
	if p.Name == "" {
		p.Name = "a process"
	}
	p.Command = p.Name
	if name := strings.TrimSuffix(strings.ToLower(p.Name), ".exe"); name == "com.docker.backend" || name == "wslrelay" {
		p.unit.kind = map[string]string{"com.docker.backend": windowsDocker, "wslrelay": windowsLinux}[name]
	}
	const system = 4 // its process id is always this
	services := c.services[r.pid]
	switch {
	case r.pid == system:
		p.unit.kind, p.Started = windowsKernel, time.Time{}
		p.Name, p.Command = "System", "System"
	case len(services) == 1:
		p.unit = unit{name: services[0], user: -1, kind: windowsService}
	case len(services) > 1: // to end the process would end them all
		slices.Sort(services)
		p.unit = unit{name: strings.Join(services, ", "), user: -1, kind: windowsServices}
	}
	return p
}

// imageName returns the name of a process's program file.
func imageName(h windows.Handle) string {
	var path [windows.MAX_LONG_PATH]uint16
	size := uint32(len(path))
	if windows.QueryFullProcessImageName(h, 0, &path[0], &size) != nil {
		return ""
	}
	return filepath.Base(windows.UTF16ToString(path[:size]))
}

// runningServices returns the names of the services by process. It is empty if the
// service control manager does not tell.
func runningServices() map[int][]string {
	manager, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_ENUMERATE_SERVICE)
	if err != nil {
		return nil
	}
	defer windows.CloseServiceHandle(manager)
	services := map[int][]string{}
	size := uint32(1 << 16)
	const tries = 5
	for range tries {
		// Not of the type of its rows, since names follow these, which are no pointers.
		buffer := make([]uint64, size/8+1)
		first := (*byte)(unsafe.Pointer(&buffer[0]))
		size = uint32(len(buffer) * 8)
		var needed, count, resume uint32
		err := windows.EnumServicesStatusEx(manager, windows.SC_ENUM_PROCESS_INFO, windows.SERVICE_WIN32, windows.SERVICE_ACTIVE,
			first, size, &needed, &count, &resume, nil)
		if err == windows.ERROR_MORE_DATA {
			size += needed
			continue
		}
		if err != nil {
			return nil
		}
		for _, s := range unsafe.Slice((*windows.ENUM_SERVICE_STATUS_PROCESS)(unsafe.Pointer(first)), count) {
			pid := int(s.ServiceStatusProcess.ProcessId)
			services[pid] = append(services[pid], windows.UTF16PtrToString(s.ServiceName))
		}
		runtime.KeepAlive(buffer)
		break
	}
	return services
}
