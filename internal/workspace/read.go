package workspace

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mark3labs/mcp-go/mcp"
	"golang.org/x/sys/unix"

	"github.com/mcpguard/mcpguard/internal/digest"
	"github.com/mcpguard/mcpguard/internal/document"
	"github.com/mcpguard/mcpguard/internal/effect"
	"github.com/mcpguard/mcpguard/internal/guard"
	"github.com/mcpguard/mcpguard/internal/jsonvalue"
)

// Bounds of reading.
const (
	maxOutput = 1 << 20          // bytes of one result
	maxRead   = effect.MaxText   // bytes of one file
	maxHash   = 64 << 20         // bytes of a file for file_info
	maxList   = 1000             // entries of a listing
	maxSearch = 4 << 20          // bytes of a file that is searched
	maxWalk   = 200_000          // entries visited in a search
	maxTime   = 20 * time.Second // of a search
)

// args decodes the arguments of a call, which the schema has already checked.
func args[T any](c *call, defaults T) (T, error) {
	if err := jsonvalue.DecodeStrict(c.args, &defaults); err != nil {
		return defaults, fmt.Errorf("reading the arguments: %w", err)
	}
	return defaults, nil
}

// open opens a regular file of the workspace for reading. It follows no link
// after the path has been resolved and never blocks on a pipe or a device.
func (c *Conn) open(p string) (*os.File, fs.FileInfo, guard.Target, error) {
	t, err := effect.Path(p, c.roots)
	if err != nil {
		return nil, nil, t, err
	}
	if t.Path == "." {
		return nil, nil, t, errors.New("the path is a folder; use list_directory")
	}
	f, name, err := openFolder(t)
	if err != nil {
		return nil, nil, t, fmt.Errorf("%q is not there; list the folder and use a name that is there", t.Path)
	}
	defer f.close()
	seen, err := f.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, t, fmt.Errorf("%q is not there; list the folder and use a name that is there", t.Path)
	case err != nil:
		return nil, nil, t, fmt.Errorf("%q: %s", t.Path, plain(err))
	case seen.IsDir():
		return nil, nil, t, fmt.Errorf("%q is a folder; use list_directory", t.Path)
	case !seen.Mode().IsRegular():
		return nil, nil, t, fmt.Errorf("%q is not an ordinary file", t.Path)
	}
	file, err := f.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, t, fmt.Errorf("%q: %s", t.Path, plain(err))
	}
	info, err := file.Stat()
	if err != nil || !os.SameFile(seen, info) {
		file.Close()
		return nil, nil, t, fmt.Errorf("%q changed while it was opened; try again", t.Path)
	}
	return file, info, t, nil
}

// text reads a whole text file.
func (c *Conn) text(p string) ([]byte, guard.Target, error) {
	file, info, t, err := c.open(p)
	if err != nil {
		return nil, t, err
	}
	defer file.Close()
	if info.Size() > maxRead {
		return nil, t, fmt.Errorf("%q has %d bytes; at most %d are read", t.Path, info.Size(), maxRead)
	}
	b, err := io.ReadAll(io.LimitReader(file, maxRead+1))
	switch {
	case err != nil:
		return nil, t, fmt.Errorf("reading %q: %s", t.Path, plain(err))
	case len(b) > maxRead:
		return nil, t, fmt.Errorf("%q grew while it was read; try again", t.Path)
	case !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0:
		return nil, t, fmt.Errorf("%q is not text (%d bytes); use file_info", t.Path, len(b))
	}
	return b, t, nil
}

func (c *Conn) readFile(_ context.Context, call *call) (*mcp.CallToolResult, error) {
	a, err := args(call, struct {
		Path   string `json:"path"`
		Offset int    `json:"offset"`
		Limit  int    `json:"limit"`
	}{Offset: 1})
	if err != nil {
		return nil, err
	}
	b, _, err := c.text(a.Path)
	if err != nil {
		return nil, err
	}
	part, first, next := lines(b, a.Offset, a.Limit)
	res := mcp.NewToolResultText(string(part))
	total := countLines(b)
	switch {
	case a.Offset > max(total, 1):
		return nil, fmt.Errorf("the file has %d lines; offset %d is beyond them", total, a.Offset)
	case next > 0:
		res.Content = append(res.Content, mcp.NewTextContent(fmt.Sprintf("(lines %d to %d of %d; go on with offset %d)", first, next-1, total, next)))
	}
	return res, nil
}

// lines returns up to limit lines, starting at line first, as many as fit, and
// the number of the following line, 0 at the end. A single line that does not
// fit is cut.
func lines(b []byte, first, limit int) (part []byte, from, next int) {
	start := 0
	for n := 1; n < first && start < len(b); n++ {
		i := bytes.IndexByte(b[start:], '\n')
		if i < 0 {
			return nil, first, 0
		}
		start += i + 1
	}
	end, n := start, 0
	for end < len(b) && (limit == 0 || n < limit) {
		i := bytes.IndexByte(b[end:], '\n') + 1
		if i == 0 {
			i = len(b) - end
		}
		if end+i-start > maxOutput {
			if n == 0 { // a single line
				for i = maxOutput; !utf8.RuneStart(b[end+i]); i-- {
				}
				return b[start : end+i], first, first + 1
			}
			break
		}
		end += i
		n++
	}
	if end < len(b) {
		next = first + n
	}
	return b[start:end], first, next
}

func countLines(b []byte) int {
	n := bytes.Count(b, []byte{'\n'})
	if len(b) > 0 && b[len(b)-1] != '\n' {
		n++
	}
	return n
}

func (c *Conn) readFiles(ctx context.Context, call *call) (*mcp.CallToolResult, error) {
	a, err := args(call, struct {
		Paths []string `json:"paths"`
	}{})
	if err != nil {
		return nil, err
	}
	res := &mcp.CallToolResult{}
	left := maxOutput
	for _, p := range a.Paths {
		if ctx.Err() != nil {
			return nil, errCancelled
		}
		b, _, err := c.text(p)
		body := string(b)
		switch {
		case err != nil:
			body = "(" + toolErrorText(err) + ")"
		case len(b) > left:
			body = fmt.Sprintf("(left out: %d bytes do not fit into this answer; use read_file)", len(b))
		default:
			left -= len(b)
		}
		res.Content = append(res.Content, mcp.NewTextContent("==> "+p+" <==\n"+body))
	}
	return res, nil
}

var errCancelled = errors.New("the call was cancelled")

// description is the structured result of file_info.
type description struct {
	Path     string `json:"path"`
	Type     string `json:"type"`
	Size     int64  `json:"size"`
	Mode     string `json:"mode"`
	Modified string `json:"modified"`
	Text     *bool  `json:"text,omitempty"`
	Lines    *int   `json:"lines,omitempty"`
	Endings  string `json:"line_endings,omitempty"`
	SHA256   string `json:"sha256,omitempty"`
}

func (c *Conn) fileInfo(_ context.Context, call *call) (*mcp.CallToolResult, error) {
	a, err := args(call, struct {
		Path string `json:"path"`
	}{})
	if err != nil {
		return nil, err
	}
	t, err := effect.Path(a.Path, c.roots)
	if err != nil {
		return nil, err
	}
	info, err := stat(t)
	if err != nil {
		return nil, fmt.Errorf("%q is not there; list the folder and use a name that is there", t.Path)
	}
	d := description{Path: t.Path, Type: typeOf(info.Mode()), Size: info.Size(), Mode: fmt.Sprintf("%04o", permOf(info)), Modified: info.ModTime().UTC().Format(time.RFC3339Nano)}
	if info.Mode().IsRegular() && info.Size() <= maxHash {
		file, _, _, err := c.open(a.Path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		b, err := io.ReadAll(io.LimitReader(file, maxHash))
		if err != nil {
			return nil, fmt.Errorf("reading %q: %s", t.Path, plain(err))
		}
		isText := utf8.Valid(b) && bytes.IndexByte(b, 0) < 0
		d.Text, d.SHA256, d.Size = &isText, strings.TrimPrefix(digest.Sum(b).String(), "sha256:"), int64(len(b))
		if isText {
			n := countLines(b)
			d.Lines, d.Endings = &n, endings(b)
		}
	}
	return structured(d)
}

// stat examines a resolved target without following a link.
func stat(t guard.Target) (fs.FileInfo, error) {
	if t.Path == "." {
		root, err := os.OpenRoot(t.Root)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		return root.Stat(".")
	}
	f, name, err := openFolder(t)
	if err != nil {
		return nil, err
	}
	defer f.close()
	return f.root.Lstat(name)
}

func typeOf(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "file"
	case m.IsDir():
		return "folder"
	case m&fs.ModeSymlink != 0:
		return "link"
	}
	return "other"
}

func endings(b []byte) string {
	lf, crlf := bytes.Count(b, []byte{'\n'}), bytes.Count(b, []byte("\r\n"))
	switch {
	case lf == 0:
		return "none"
	case crlf == 0:
		return "lf"
	case crlf == lf:
		return "crlf"
	}
	return "mixed"
}

func (c *Conn) readDocument(_ context.Context, call *call) (*mcp.CallToolResult, error) {
	a, err := args(call, struct {
		Path    string `json:"path"`
		Pointer string `json:"pointer"`
	}{})
	if err != nil {
		return nil, err
	}
	b, t, err := c.text(a.Path)
	if err != nil {
		return nil, err
	}
	v, notes, err := document.ParseDocument(path.Ext(t.Path), b)
	if errors.Is(err, document.ErrUnknownFormat) {
		return nil, fmt.Errorf("%q is no JSON, YAML or TOML file by its name; use read_file", t.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("%q: %w; use read_file", t.Path, err)
	}
	if v, err = v.At(a.Pointer); err != nil {
		return nil, fmt.Errorf("%q in %q: %w", a.Pointer, t.Path, err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, v.Encode(), "", "  "); err != nil {
		return nil, fmt.Errorf("writing %q as JSON: %w", t.Path, err)
	}
	if out.Len() > maxOutput {
		return nil, fmt.Errorf("the value has %d bytes as JSON; ask for a part of it with pointer", out.Len())
	}
	res := mcp.NewToolResultText(out.String())
	if len(notes.Duplicates) > 0 {
		res.Content = append(res.Content, mcp.NewTextContent(fmt.Sprintf("(%s is given more than once; the last counts here)", notes.Duplicates[0])))
	}
	return res, nil
}

// structured returns a value as a result, with its JSON as text.
func structured(v any) (*mcp.CallToolResult, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the answer: %w", err)
	}
	return mcp.NewToolResultStructured(v, string(b)), nil
}
