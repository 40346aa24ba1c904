// Command bench measures liveapid and prints the tables of docs/benchmarks.md. Some tables measure whole
// programs, others only parts of them. Each result is compared with a reference value that was measured in
// the same run.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"
)

// bench contains the settings and directories of one run of the benchmarks.
type bench struct {
	bin     string // The directory of the built programs.
	profile string // The directory for profiles, or "".
	quick   bool
	self    string // Path of this program; links to it run as plugin or server.
	scratch string
}

func main() {
	if actAsPart(os.Args) {
		return
	}
	b := bench{}
	flag.StringVar(&b.bin, "bin", "bin", "directory of the built programs")
	flag.BoolVar(&b.quick, "quick", false, "a tenth of the repetitions")
	flag.StringVar(&b.profile, "profile", "", "directory for profiles of each part; the programs in -bin must write theirs there, too")
	only := flag.String("only", "", "a part alone: hash, strength, start, passwdpop, call, encoding, process, lists, https, signin")
	flag.Parse()
	if err := b.run(*only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) run(only string) (err error) {
	if b.bin, err = filepath.Abs(b.bin); err != nil {
		return err
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.scratch, err = os.MkdirTemp("", "lb"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.scratch) }()
	fmt.Printf("%s, %d cores, %s, Linux %s\n", cpu(), runtime.NumCPU(), runtime.Version(), kernel())
	for _, part := range []struct {
		name string
		do   func() error
	}{
		{"hash", b.hash}, {"strength", b.strength}, {"start", b.start}, {"passwdpop", b.passwdpop}, {"call", b.call},
		{"encoding", b.encoding}, {"process", b.process}, {"lists", b.lists}, {"https", b.https}, {"signin", b.signin},
	} {
		if only != "" && only != part.name {
			continue
		}
		if err := b.profiled(part.name, part.do); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// profiled runs a part, and, if profiles are wanted, writes this program's own and moves those of the other programs
// into a directory of the part.
func (b *bench) profiled(name string, do func() error) error {
	if b.profile == "" {
		return do()
	}
	dir := filepath.Join(b.profile, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	cpu, err := os.Create(filepath.Join(dir, "bench.cpu"))
	if err != nil {
		return err
	}
	defer func() { _ = cpu.Close() }()
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return err
	}
	err = do()
	pprof.StopCPUProfile()
	if err != nil {
		return err
	}
	allocs, err := os.Create(filepath.Join(dir, "bench.allocs"))
	if err != nil {
		return err
	}
	defer func() { _ = allocs.Close() }()
	if err := pprof.Lookup("allocs").WriteTo(allocs, 0); err != nil {
		return err
	}
	for _, pattern := range []string{"*.cpu", "*.allocs"} {
		written, err := filepath.Glob(filepath.Join(b.profile, pattern))
		if err != nil {
			return err
		}
		for _, path := range written {
			if err := os.Rename(path, filepath.Join(dir, filepath.Base(path))); err != nil {
				return err
			}
		}
	}
	return nil
}

func cpu() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for _, line := range strings.Split(string(text), "\n") {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	out, _ := exec.Command("uname", "-r").Output()
	return strings.TrimSpace(string(out))
}

// times returns n, the number of repetitions. With the option -quick it returns a tenth of n, but at least 3.
func (b *bench) times(n int) int {
	if b.quick {
		return max(n/10, 3)
	}
	return n
}

// table prints a table in Markdown.
func table(title string, head []string, rows [][]string) {
	fmt.Printf("\n### %s\n\n| %s |\n|%s\n", title, strings.Join(head, " | "), strings.Repeat(" --- |", len(head)))
	for _, row := range rows {
		fmt.Printf("| %s |\n", strings.Join(row, " | "))
	}
}

// samples are the durations of the same work, done repeatedly.
type samples []time.Duration

func (s samples) median() time.Duration {
	sorted := slices.Clone(s)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

func (s samples) p99() time.Duration {
	sorted := slices.Clone(s)
	slices.Sort(sorted)
	return sorted[len(sorted)*99/100]
}

// timed runs do n times and returns the duration of each run. It stops at the first error.
func timed(n int, do func() error) (samples, error) {
	out := make(samples, 0, n)
	for range n {
		start := time.Now()
		if err := do(); err != nil {
			return nil, err
		}
		out = append(out, time.Since(start))
	}
	return out, nil
}

func us(d time.Duration) string { return fmt.Sprintf("%.1f µs", float64(d.Nanoseconds())/1e3) }
func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Nanoseconds())/1e6) }
func ratio(a, b float64) string { return fmt.Sprintf("%.2f", a/b) }
