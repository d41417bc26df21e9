package sdlcmd

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/sdl"
	"github.com/moorage-dev/moorage/sdl/manifest"
)

// verdict is the JSON of validate.
type verdict struct {
	File        string          `json:"file"`
	OK          bool            `json:"ok"`
	Diagnostics sdl.Diagnostics `json:"diagnostics"`
}

// compiled is the JSON of compile.
type compiled struct {
	File        string            `json:"file"`
	OK          bool              `json:"ok"`
	Version     *market.Hash      `json:"version,omitempty"`
	Groups      json.RawMessage   `json:"groups,omitempty"`
	Manifest    manifest.Manifest `json:"manifest,omitempty"`
	Reclamation string            `json:"reclamation,omitempty"`
	Diagnostics sdl.Diagnostics   `json:"diagnostics"`
}

// Formats of validate.
const (
	formatText   = "text"
	formatJSON   = "json"
	formatGitHub = "github"
)

func (c *command) validate() *cobra.Command {
	format := formatText
	cmd := &cobra.Command{
		Use:   "validate FILE...",
		Short: "Report the problems of documents",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			if format != formatText && format != formatJSON && format != formatGitHub {
				return &ExitError{exitProblems, fmt.Errorf("sdl: format %q: want text, json or github", format)}
			}
			return c.eachFile(files, func(name string, src []byte) (bool, error) {
				res, err := sdl.Compile(src, c.options(name))
				ds := sdl.AsDiagnostics(err)
				if res != nil {
					ds = res.Diagnostics
				}
				return err == nil, c.printVerdict(format, verdict{name, err == nil, ds}, src)
			})
		},
	}
	cmd.Flags().StringVar(&format, "format", format, "text, json or github")
	c.addFlags(cmd)
	return cmd
}

func (c *command) printVerdict(format string, v verdict, src []byte) error {
	var err error
	switch {
	case c.jsonl || format == formatJSON:
		return c.printJSON(v)
	case format == formatGitHub:
		for _, d := range v.Diagnostics {
			if err == nil {
				_, err = fmt.Fprintln(c.stdout, gitHubLine(d))
			}
		}
	default:
		text := v.Diagnostics.Render(src)
		if v.OK {
			text += v.File + ": ok\n"
		}
		_, err = fmt.Fprint(c.stdout, text)
	}
	return err
}

// gitHubLine renders a problem as a workflow command, which becomes a note at
// the line in a review.
func gitHubLine(d *sdl.Error) string {
	message := d.Message
	if len(d.Allowed) > 0 {
		message += "; allowed: " + strings.Join(d.Allowed, ", ")
	}
	if d.Suggestion != "" {
		message += "; did you mean " + d.Suggestion + "?"
	}
	if d.Path != "" {
		message = d.Path + ": " + message
	}
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	return fmt.Sprintf("::%s file=%s,line=%d,col=%d,title=%s::%s",
		d.Severity, property.Replace(d.File), d.Line, d.Column, property.Replace(string(d.Rule)), data.Replace(message))
}

func (c *command) compile() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "compile FILE...",
		Short: "Print the version, groups and manifest of documents as JSON",
		Long:  "Print the version, groups and manifest of documents as JSON.\n\nThe manifest holds every secret of the document in clear.",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			return c.eachFile(files, func(name string, src []byte) (bool, error) {
				res, err := sdl.Compile(src, c.options(name))
				if err != nil {
					return false, c.printJSON(compiled{File: name, Diagnostics: sdl.AsDiagnostics(err)})
				}
				groups, err := sdl.GroupsJSON(res.Groups)
				if err != nil {
					return false, err
				}
				out := compiled{File: name, OK: true, Version: &res.Hash, Groups: groups, Manifest: res.Manifest, Diagnostics: res.Diagnostics}
				if res.Reclamation > 0 {
					out.Reclamation = res.Reclamation.String()
				}
				return true, c.printJSON(out)
			})
		},
	}
	c.addFlags(cmd)
	return cmd
}

// printJSON prints one object: on one line with --jsonl, else indented.
func (c *command) printJSON(v any) error {
	enc := json.NewEncoder(c.stdout)
	enc.SetEscapeHTML(false)
	if !c.jsonl {
		enc.SetIndent("", "  ")
	}
	return enc.Encode(v)
}
