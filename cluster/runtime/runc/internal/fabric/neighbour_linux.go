package fabric

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"

	"github.com/moorage-dev/moorage/internal/nft"
)

// Docker, ufw and others set the machine's forward chain to drop what they do not
// know, and no accept of ours elsewhere changes that. Where such a chain is, two
// rules let our bridges through; what they may not do our own table has dropped
// before.

// LetThrough puts the rules where they are needed. Twice is as once.
func (h Host) LetThrough(ctx context.Context) error {
	chain := strictChain(ctx)
	if chain == "" || strings.Contains(list(ctx, chain), h.comment()) {
		return nil
	}
	return nft.Run(ctx, fmt.Sprintf(
		"insert rule ip filter %[1]s iifname \"%[2]s*\" accept comment %[3]s\n"+
			"insert rule ip filter %[1]s oifname \"%[2]s*\" accept comment %[3]s\n",
		chain, h.bridgePrefix(), h.comment()))
}

// CallBack removes the rules again.
func (h Host) CallBack(ctx context.Context) error {
	handle := regexp.MustCompile(`# handle (\d+)$`)
	var script strings.Builder
	for _, chain := range []string{"DOCKER-USER", "FORWARD"} {
		for line := range strings.Lines(list(ctx, chain)) {
			if m := handle.FindStringSubmatch(strings.TrimSpace(line)); m != nil && strings.Contains(line, h.comment()) {
				_, _ = fmt.Fprintf(&script, "delete rule ip filter %s handle %s\n", chain, m[1])
			}
		}
	}
	if script.Len() == 0 {
		return nil
	}
	return nft.Run(ctx, script.String())
}

func (h Host) comment() string { return fmt.Sprintf("%q", h.TableName()) }

// strictChain is the chain that would drop our packets, "" if none. DOCKER-USER is
// Docker's own place for rules of others.
func strictChain(ctx context.Context) string {
	if list(ctx, "DOCKER-USER") != "" {
		return "DOCKER-USER"
	}
	if strings.Contains(list(ctx, "FORWARD"), "policy drop") {
		return "FORWARD"
	}
	return ""
}

// list shows a chain of iptables' filter table, "" if it is not there.
func list(ctx context.Context, chain string) string {
	out, err := exec.CommandContext(ctx, "nft", "-a", "list", "chain", "ip", "filter", chain).Output()
	if err != nil {
		return ""
	}
	return string(out)
}
