package policyagent_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/moorage-dev/moorage/internal/kubetest/policyagent"
)

func pod(name, node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "one", Name: name, Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{NodeName: node},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "10.244.1." + name}}},
	}
}

func closed() *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "one", Name: "closed"},
		Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}},
	}
}

// settle lets everybody work, and some time pass.
func settle(t *testing.T) {
	t.Helper()
	time.Sleep(time.Second)
	synctest.Wait()
}

func TestOnlyLivePodsOfTheNodeHaveRules(t *testing.T) {
	ended, host := pod("3", "here"), pod("4", "here")
	ended.Status.Phase, host.Spec.HostNetwork = corev1.PodSucceeded, true
	o := policyagent.Objects{
		Pods:       []*corev1.Pod{pod("1", "here"), pod("2", "there"), ended, host},
		Namespaces: []*corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "one"}}}, Policies: []*networkingv1.NetworkPolicy{closed()},
	}
	script, err := policyagent.Render(o, "here")
	require.NoError(t, err)
	assert.Contains(t, script, "10.244.1.1 : jump")
	for _, other := range []string{"10.244.1.2", "10.244.1.3", "10.244.1.4"} {
		assert.NotContains(t, script, other)
	}
}

// TestRulesFollowTheObjects runs the agent against an API in memory, in virtual
// time; the first attempt to change the rules fails.
func TestRulesFollowTheObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(pod("1", "here"), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "one"}})
		var scripts []string
		failed := false
		a, err := policyagent.New(policyagent.Config{Client: client, Apply: func(_ context.Context, script string) error {
			if !failed {
				failed = true
				return errors.New("nft is busy")
			}
			scripts = append(scripts, script)
			return nil
		}})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		settle(t)
		require.Len(t, scripts, 1, "after a failure it tries again")
		assert.NotContains(t, scripts[0], "jump")
		policies := client.NetworkingV1().NetworkPolicies("one")
		_, err = policies.Create(ctx, closed(), metav1.CreateOptions{})
		require.NoError(t, err)
		settle(t)
		require.Len(t, scripts, 2)
		assert.Contains(t, scripts[1], "10.244.1.1 : jump")
		require.NoError(t, policies.Delete(ctx, "closed", metav1.DeleteOptions{}))
		settle(t)
		require.Len(t, scripts, 3)
		assert.Equal(t, scripts[0], scripts[2])
		cancel()
		require.NoError(t, <-done)
		assert.True(t, strings.HasPrefix(scripts[3], "table inet kubetest_policies\ndelete table"), "the rules go with the agent")
		assert.EqualValues(t, 3, a.Applied())
	})
}

func TestAnAgentNeedsAClientAndAWayToApply(t *testing.T) {
	_, err := policyagent.New(policyagent.Config{})
	require.Error(t, err)
}
