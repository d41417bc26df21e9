package machine_test

import (
	"errors"
	"fmt"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/market/machine"
)

// A host keeps the tables and a bank, and hands messages to the machine. (The
// host of this example is in failure_test.go: maps, and a bank without bottom.)
func Example() {
	h := newHost(market.DefaultParams("uakt"))
	at := machine.Moment{Height: 1}
	for _, msg := range []market.Msg{
		market.CreateProvider{Provider: market.Provider{Owner: "provider", HostURI: "https://provider.example"}},
		benchDeployment(1),
		market.CloseGroup{ID: market.GroupID{DeploymentID: market.DeploymentID{Owner: "tenant", DSeq: 1}, GSeq: 2}},
	} {
		events, err := h.Execute(at, msg)
		var refusal *market.RuleError
		if errors.As(err, &refusal) {
			fmt.Println("refused:", refusal.Rule)
		}
		for _, e := range events {
			fmt.Println(e.Kind)
		}
	}
	events, err := h.EndBlock(at)
	fmt.Println("end of block:", len(events), err)
	// Output:
	// provider-changed
	// deployment-created
	// order-created
	// refused: group-unknown
	// end of block: 0 <nil>
}
