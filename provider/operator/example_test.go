package operator_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/moorage-dev/moorage/market"
	"github.com/moorage-dev/moorage/provider"
	"github.com/moorage-dev/moorage/provider/gateway/api"
	"github.com/moorage-dev/moorage/provider/operator"
)

// idle stands for a provider.
type idle struct{}

func (idle) Overview(context.Context) (provider.Overview, error) { return provider.Overview{}, nil }

func (idle) Status(context.Context) (api.ProviderStatus, error) {
	return api.ProviderStatus{State: api.ProviderUnready, Message: "the cluster cannot be seen"}, nil
}

func (idle) Drain(bool, string) {}

func (idle) Reclaim(context.Context, market.LeaseID) (int64, error) { return 0, nil }

func (idle) Withdraw(context.Context) error { return nil }

// A load balancer or an alarm asks whether the provider can serve.
func ExampleNew() {
	w := httptest.NewRecorder()
	operator.New(idle{}, nil).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	fmt.Print(w.Code, " ", w.Body)
	// Output: 503 {"message":"the cluster cannot be seen"}
}
