package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/moorage-dev/moorage/cluster/runtime"
)

// stopped is the runtime's reason for a container that was asked to end.
const stopped = "stopped"

// maxReason bounds the text of an error that a tenant is shown.
const maxReason = 400

// endText says for a tenant why a container ended.
func endText(i Instance) string {
	const killed = 128
	switch {
	case i.Reason != "" && i.Reason != stopped:
		return "ended: " + i.Reason
	case i.ExitCode > killed:
		return fmt.Sprintf("ended by signal %d", i.ExitCode-killed)
	case i.ExitCode < 0:
		return "ended"
	}
	return fmt.Sprintf("exited with code %d", i.ExitCode)
}

// startText says for a tenant why a container could not be started.
func startText(image string, err error) string {
	var text string
	switch {
	case errors.Is(err, runtime.ErrImage):
		detail := strings.TrimPrefix(err.Error(), runtime.ErrImage.Error()+": ")
		text = "image not available: " + detail
		if !strings.Contains(detail, image) {
			text = "image not available: " + image + ": " + detail
		}
	case errors.Is(err, runtime.ErrInvalid):
		text = "cannot run as it is: " + err.Error()
	case errors.Is(err, runtime.ErrUnsupported):
		text = "this host cannot run it: " + err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		text = "starting took too long"
	default:
		text = "cannot start: " + err.Error()
	}
	if len(text) > maxReason {
		text = text[:maxReason] + "…"
	}
	return text
}
