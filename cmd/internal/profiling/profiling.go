// Package profiling writes profiles of a program for as long as it runs. Only builds for benchmarks, with the tag
// profile, contain it. It must not be linked into a program that is installed.
package profiling

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"
)

// Dir is the directory of the profiles. The linker sets it (-X), because workers inherit no environment.
var Dir string

// period is the time after which a processor profile is complete and the next one begins. A worker is killed
// without a warning, so the program must not wait for its end. `go tool pprof` merges the profiles of all periods.
const period = 2 * time.Second

// Start begins to write profiles into Dir, if it is set: NAME-PID-NUMBER.cpu for each period, and NAME-PID.allocs
// for the memory that was allocated since the start.
func Start() {
	if Dir == "" {
		return
	}
	name := filepath.Join(Dir, fmt.Sprintf("%s-%d", filepath.Base(os.Args[0]), os.Getpid()))
	go func() {
		for n := 0; ; n++ {
			if err := record(name, n); err != nil {
				_, _ = fmt.Fprintln(os.Stderr, "profile:", err)
				return
			}
		}
	}()
}

func record(name string, n int) error {
	cpu, err := os.Create(fmt.Sprintf("%s-%d.cpu", name, n))
	if err != nil {
		return err
	}
	defer func() { _ = cpu.Close() }()
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return err
	}
	time.Sleep(period)
	pprof.StopCPUProfile()
	allocs, err := os.Create(name + ".allocs")
	if err != nil {
		return err
	}
	defer func() { _ = allocs.Close() }()
	return pprof.Lookup("allocs").WriteTo(allocs, 0)
}
