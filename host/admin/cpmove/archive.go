package cpmove

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// ErrHostile is wrapped by the error for an archive that is rejected because its contents are not allowed.
var ErrHostile = errors.New("the archive is rejected")

// maxWindow is the memory in bytes that the decoder of zstd may use, as much as the levels up to 22 need.
const maxWindow = 128 << 20

// decompressed returns the unpacked data of r, whatever the name of its file is: it is recognized by its first
// bytes. The caller must call end.
func decompressed(r io.Reader) (out io.Reader, end func(), err error) {
	b := bufio.NewReaderSize(r, 64<<10)
	end = func() {}
	head, err := b.Peek(blockSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, end, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		out, err = gzip.NewReader(b)
	case bytes.HasPrefix(head, []byte("BZh")):
		out = bzip2.NewReader(b)
	case bytes.HasPrefix(head, []byte("\xfd7zXZ")):
		err = errors.New("the archive is compressed with xz, which this command does not read: pack it again with gzip or zstd")
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}), len(head) > 3 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}):
		var d *zstd.Decoder
		if d, err = zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow)); err == nil {
			out, end = d, d.Close
		}
	case isTar(head):
		out = b
	default:
		return nil, end, errors.New("not an archive: it is neither a tar file nor one compressed with gzip, bzip2 or zstd")
	}
	return out, end, err
}

// blockSize is the size of a tar file's header in bytes.
const blockSize = 512

// isTar reports whether head is the beginning of a tar file: a valid header, or the end of an empty archive.
func isTar(head []byte) bool {
	if len(head) < blockSize {
		return false
	}
	_, err := tar.NewReader(bytes.NewReader(head)).Next()
	return err == nil || errors.Is(err, io.EOF) || bytes.Equal(head[257:262], []byte("ustar"))
}

// entry is a file, a directory or a link of an archive.
type entry struct {
	*tar.Header
	name   string // Relative to the account's directory in the archive, such as homedir/etc.
	target string // For a hard link: the name of the other file.
	data   io.Reader
}

// each reads the archive in file and calls do for every entry below root, the account's directory in the archive.
func each(ctx context.Context, file, root string, do func(entry) error) error {
	return eachRaw(ctx, file, func(h *tar.Header, r io.Reader) error {
		name, below := within(root, h.Name)
		if !below {
			if top, rest, _ := strings.Cut(h.Name, "/"); top != root && (strings.HasPrefix(rest, "homedir") || strings.HasPrefix(rest, "cp/")) {
				return fmt.Errorf("%w: the archive has two top directories with accounts, %.60q and %.60q", ErrHostile, root, top)
			}
			return nil
		}
		if slices.Contains(nested, name) && h.Typeflag == tar.TypeReg && h.Size > 0 {
			return eachOf(r, func(h *tar.Header, r io.Reader) error {
				target, _ := within("", h.Linkname)
				return do(entry{h, "homedir/" + h.Name, "homedir/" + target, r})
			}, name)
		}
		target, _ := within(root, h.Linkname)
		return do(entry{h, name, target, r})
	})
}

// nested are the names of an archive of the home inside the account's archive.
var nested = []string{"homedir.tar", "homedir.tar.gz", "homedir.tar.bz2", "homedir.tar.zst"}

// within returns name relative to the directory root, and reports whether it is below root.
func within(root, name string) (string, bool) {
	name = path.Clean(name)
	if root == "" {
		return name, name != "."
	}
	return strings.CutPrefix(name, root+"/")
}

// eachRaw reads the archive in file and calls do for every entry, with a clean name.
func eachRaw(ctx context.Context, file string, do func(*tar.Header, io.Reader) error) error {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0) // A FIFO must not block.
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, fmt.Errorf("%s is not a regular file", file))
	}
	return eachOf(readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return f.Read(p)
	}), do, file)
}

// ended is a reader that knows how many zero bytes were read last.
type ended struct {
	r     io.Reader
	zeros int64
	data  bool // Another byte was read since the last reset.
}

// Read implements io.Reader.
func (e *ended) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	rest := len(bytes.TrimRight(p[:n], "\x00"))
	if rest > 0 {
		e.zeros, e.data = 0, true
	}
	e.zeros += int64(n - rest)
	return n, err
}

// eachOf reads an archive called name and calls do for every entry.
func eachOf(r io.Reader, do func(*tar.Header, io.Reader) error, name string) error {
	unpacked, end, err := decompressed(r)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer end()
	counted := &ended{r: unpacked}
	archive := tar.NewReader(counted)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return wholeEnd(counted, name)
		}
		if errors.Is(err, zstd.ErrWindowSizeExceeded) {
			return fmt.Errorf("%s: the archive needs more than %d MiB of memory to unpack: pack it again without --long, or with gzip", name, maxWindow>>20)
		}
		if errors.Is(err, context.Canceled) {
			return err
		}
		if err != nil {
			return fmt.Errorf("%s: the archive is damaged: %w", name, err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader || h.Name == "" {
			continue
		}
		if path.IsAbs(h.Name) || slices.Contains(strings.Split(h.Name, "/"), "..") {
			return fmt.Errorf("%w: the entry name %.100q leads out of the archive", ErrHostile, h.Name)
		}
		if h.Name = path.Clean(h.Name); h.Name == "." {
			continue
		}
		if err := do(h, archive); errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%s: the archive is damaged: %w", name, err)
		} else if err != nil {
			return err
		}
	}
}

// wholeEnd reads the data after the last entry of an archive. An archive that was cut off lacks the blocks of zeros at
// its end; damage of compressed data may show only there.
func wholeEnd(counted *ended, name string) error {
	zeros := counted.zeros
	counted.data = false
	if _, err := io.Copy(io.Discard, counted); err != nil {
		if errors.Is(err, context.Canceled) {
			return err
		}
		return fmt.Errorf("%s: the archive is damaged: %w", name, err)
	}
	if counted.data {
		return fmt.Errorf("%s: the archive is damaged: there is more data after its end", name)
	}
	if zeros < blockSize && counted.zeros < blockSize {
		return fmt.Errorf("%s: the archive is damaged: its end is missing", name)
	}
	return nil
}

// contents are the names at the top of an account's archive.
var contents = []string{
	"homedir", "homedir.tar", "homedir.tar.gz", "homedir.tar.bz2", "homedir.tar.zst", "homedir_paths", "cp", "userdata", "userconfig", "version", "va", "vad", "vf", "mysql", "mysql.sql", "psql", "mm", "mma", "mms",
	"shadow", "digestshadow", "shell", "quota", "nobodyfiles", "cron", "dnszones", "dnssec_keys", "domainkeys", "sslcerts", "sslkeys", "ssl", "logs", "counters", "bandwidth",
	"bandwidth_db", "httpfiles", "addons", "pds", "sds", "sds2", "ips", "meta", "locale", "logaholic", "interchange", "resellerconfig", "resellerpackages",
	"resellerfeatures", "suspended", "suspendinfo", "proftpdpasswd", "team", "autossl.json", "apache_tls", "has_sslstorage", "custom", "strongestkey",
}

// findRoot returns the directory in the archive that contains the account, or "" if the archive was packed inside of
// this directory.
func findRoot(ctx context.Context, file string) (root string, err error) {
	done := errors.New("found")
	empty := true
	err = eachRaw(ctx, file, func(h *tar.Header, _ io.Reader) error {
		empty = false
		top, rest, below := strings.Cut(h.Name, "/")
		next, _, _ := strings.Cut(rest, "/")
		switch {
		case slices.Contains(contents, top) && (below || h.Typeflag == tar.TypeDir || slices.Contains(nested, top)):
			return done
		case slices.Contains(contents, next):
			root = top
			return done
		}
		return nil
	})
	if errors.Is(err, done) {
		err = nil
	}
	if err == nil && empty {
		err = fmt.Errorf("%w: the archive is empty", ErrHostile)
	}
	return root, err
}
