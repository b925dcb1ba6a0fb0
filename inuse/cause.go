package inuse

// A Cause says why an address cannot be bound.
type Cause string

// The causes above CausePrivileged come with at least one Holder. There are two
// exceptions: CauseBound, whose socket Linux lists from 6.12 or so on, and procfs
// never; and the file of a unix socket of which the kernel does not tell who has it.
const (
	CauseSelf         Cause = "self"          // this very process has the address
	CauseListener     Cause = "listener"      // a live socket
	CauseOneAddress   Cause = "one-address"   // a live socket at one address of this host, where all are asked for
	CauseDevice       Cause = "device"        // a live socket that is bound to a network interface
	CauseDualStack    Cause = "dual-stack"    // a live socket at [::], which takes IPv4 as well
	CauseOtherUser    Cause = "other-user"    // a live socket that shares the address, but with its own user only
	CauseInherited    Cause = "inherited"     // a live socket that several processes have
	CauseBound        Cause = "bound"         // a socket that is bound, but does not listen
	CauseLeftover     Cause = "leftover"      // closed connections, of a server that has ended as a rule
	CauseConnection   Cause = "connection"    // an open connection of a server that has ended
	CauseOutgoing     Cause = "outgoing"      // a client's connection, which got the port for its own
	CauseKernel       Cause = "kernel"        // the kernel's own socket, such as an interface's
	CauseNoProcess    Cause = "no-process"    // a socket that no process has
	CauseOtherNetns   Cause = "other-netns"   // a unix socket of another network namespace
	CauseHidden       Cause = "hidden"        // a live socket whose process cannot be seen from here
	CauseStalePerhaps Cause = "stale-perhaps" // the file of a unix socket, of which nobody is seen to have it

	CausePrivileged      Cause = "privileged"       // this user may not use ports so low
	CauseForbidden       Cause = "forbidden"        // a security policy keeps this user from using the port
	CauseSetAside        Cause = "set-aside"        // Windows has set the port aside for something else
	CauseNotLocal        Cause = "not-local"        // this host does not have the address
	CauseTentative       Cause = "tentative"        // the address is being checked for duplicates
	CauseNoLink          Cause = "no-link"          // the same, without end, as its interface has no link
	CauseDuplicate       Cause = "duplicate"        // another host has the address
	CauseNoZone          Cause = "no-zone"          // a link-local address lacks its interface
	CauseWrongZone       Cause = "wrong-zone"       // it has another one than the address
	CauseIPv6Off         Cause = "ipv6-off"         // IPv6 is switched off
	CauseExhausted       Cause = "exhausted"        // no ephemeral port is left
	CauseStale           Cause = "stale"            // the file of a unix socket that nobody has; reuse.Listen replaces it
	CauseNotSocket       Cause = "not-socket"       // the path is that of something else than a socket
	CausePathTooLong     Cause = "path-too-long"    // the path is too long for a socket
	CauseNoDirectory     Cause = "no-directory"     // the directory does not exist
	CauseDirectoryDenied Cause = "directory-denied" // this user may not write to the directory
	CauseFileSystem      Cause = "file-system"      // the directory's file system is read-only, or has no sockets

	CauseFree    Cause = "free"    // nothing is in the way any more
	CauseUnknown Cause = "unknown" // it is not known, nor whether anything is in the way
)

// A head is what is said of a cause: a sentence for people, a clause that follows an
// error, and what the remedies are for. In braces are facts.
type head struct {
	headline, clause string
	class            class
}

const inUseBy = "{S} is in use by {by}."

// heads are the heads of all causes.
var heads = map[Cause]head{
	CauseSelf:         {"{S} is in use by this process, {by}.", "{self}", toFree},
	CauseListener:     {inUseBy, "", toFree},
	CauseOneAddress:   {"{S} is in use by {by}, on one address of this host.", "", toFree},
	CauseDevice:       {"{S} is in use by {by}, on one network interface.", "", toFree},
	CauseDualStack:    {"{S} is in use by {by}, whose [::] takes IPv4 as well.", "[::] takes IPv4 as well", toFree},
	CauseOtherUser:    {inUseBy, "", toFree},
	CauseInherited:    {inUseBy, "", toFree},
	CauseBound:        {"{S} is in use by {by}, which does not listen on it.", "it is taken, but not listened on", toFree},
	CauseLeftover:     {"{S} is still held by closed {left}.", "closed {leftover} still hold it", toFree},
	CauseConnection:   {"{S} is still held by {connections} of a server that has ended.", "{connections} of an ended server {are} still open", toFree},
	CauseOutgoing:     {"{S} is in use by an outgoing connection of {by}.", "an outgoing connection has it as its own port", toFree},
	CauseKernel:       {"{S} is in use by the kernel, for {what}.", "the kernel has it, for {what}", toFree},
	CauseNoProcess:    {"{S} is in use, and no process was found that has it.", "no process was found that has it", toKnow},
	CauseOtherNetns:   {inUseBy, "", toFree},
	CauseHidden:       {"{S} is in use by a process of {whose}.", "", toKnow},
	CauseStalePerhaps: {"{S} is in the way, and no server was found that has it.", "the socket file is in the way, and no server was found that has it", toKnow},

	CausePrivileged:      {"Nobody has {s}, but user {me} may not use ports below {start}.", "nobody has it, but user {me} may not use ports below {start}", toFix},
	CauseForbidden:       {"Nobody has {s}, but a security policy keeps user {me} from using it.", "nobody has it, but a security policy forbids it", toFix},
	CauseSetAside:        {"Nobody has {s}, but Windows has set {range} aside.", "nobody has it, but Windows has set {range} aside", toFix},
	CauseNotLocal:        {"{S} cannot be used: {missing}.", "{missing}", toFix},
	CauseTentative:       {"{S} cannot be used yet: the address is being checked for duplicates on {if}.", "the address is being checked for duplicates on {if}", toFix},
	CauseNoLink:          {"{S} cannot be used: {if} has no link, so its IPv6 address stays unchecked.", "{if} has no link, so its IPv6 address stays unchecked", toFix},
	CauseDuplicate:       {"{S} cannot be used: another host on the network of {if} has the address.", "another host on the network of {if} has the address", toFix},
	CauseNoZone:          {"{S} cannot be used: a link-local address needs its interface (%{if}).", "a link-local address needs its interface", toFix},
	CauseWrongZone:       {"{S} cannot be used: {zone}.", "{zone}", toFix},
	CauseIPv6Off:         {"{S} cannot be used: IPv6 is switched off here.", "IPv6 is switched off here", toFix},
	CauseExhausted:       {"No free port is left{to}: all {n} of {range} are taken.", "all {n} ports of {range} are taken{to}", toFix},
	CauseStale:           {"{S} is left over from a server that has ended.", "the socket file is left over from a server that has ended", toFree},
	CauseNotSocket:       {"{S} is {what}, not a socket.", "the path is {what}, not a socket", toFix},
	CausePathTooLong:     {"The path is too long for a socket: {n} bytes, and {max} are possible.", "the path has {n} bytes, and {max} are possible for a socket", toFix},
	CauseNoDirectory:     {"{S} cannot be created: {missing}.", "{missing}", toFix},
	CauseDirectoryDenied: {"{S} cannot be created: user {me} may not write to {dir}.", "user {me} may not write to {dir} ({mode})", toFix},

	CauseFileSystem: {"{S} cannot be created: the file system of {dir} {fs}.", "the file system of {dir} {fs}", toFix},

	CauseFree:    {"{S} is free.", "it is free by now", toFix},
	CauseUnknown: {"Cannot tell whether {s} is free: {what}.", "the cause was not found: {what}", toKnow},
}
