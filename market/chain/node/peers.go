package node

import (
	"context"
	"time"

	"github.com/cometbft/cometbft/p2p"
)

// redialEvery is how often peers that are missing are dialled again.
const redialEvery = 5 * time.Second

// keepPeers dials the configured peers that are not connected. The engine does so
// itself when a connection breaks, but forgets a peer whose new connection breaks
// while it is still noting the success of the last attempt: a node that comes back
// while the others still hold its old connection would be alone for half a minute.
func (r *running) keepPeers(ctx context.Context) error {
	addresses, errs := p2p.NewNetAddressStrings(r.config.Peers)
	if len(errs) > 0 || len(addresses) == 0 {
		return nil // the engine has refused what is no address
	}
	tick := time.NewTicker(redialEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		sw := r.comet.Switch()
		for _, a := range addresses {
			if !sw.Peers().Has(a.ID) && !sw.IsDialingOrExistingAddress(a) {
				if err := sw.DialPeerWithAddress(a); err != nil {
					r.config.Logger.Debug("a peer cannot be reached", "peer", a.String(), "err", err)
				}
			}
		}
	}
}
