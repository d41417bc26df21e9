package kube

import (
	"github.com/moorage-dev/moorage/cluster/kube/internal/diff"
	"github.com/moorage-dev/moorage/cluster/kube/internal/render"
)

// shapeOf says where an object of a kind must be exactly what was rendered:
// whatever opens the network, gives rights or lifts limits, and what runs in
// pods. Server-side apply leaves fields of others alone, so they are found by
// this and taken out.
func shapeOf(k render.Kind) diff.Shape {
	switch k.Kind {
	case render.Policies().Kind, render.Quotas().Kind, render.Ingresses().Kind:
		return diff.Shape{Closed: []string{"/spec"}}
	case render.Roles().Kind:
		return diff.Shape{Closed: []string{"/rules"}}
	case render.RoleBindings().Kind:
		return diff.Shape{Closed: []string{"/subjects", "/roleRef"}}
	case render.Routes().Kind:
		return diff.Shape{Closed: []string{"/spec"}, Filled: map[string]any{"/spec/rules/*/matches": nil}}
	case render.Services().Kind:
		return diff.Shape{Closed: []string{"/spec"}, Filled: filledServices()}
	case render.Deployments().Kind:
		filled := filledPods()
		filled["/spec/progressDeadlineSeconds"] = nil
		filled["/spec/template/metadata/creationTimestamp"] = nil
		return diff.Shape{Closed: []string{"/spec/paused", "/spec/minReadySeconds", pods}, Filled: filled}
	case render.StatefulSets().Kind:
		return diff.Shape{Closed: []string{"/spec/minReadySeconds", pods}, Filled: filledPods()}
	}
	return diff.Shape{}
}

// pods is where the pods of a workload are described.
const pods = "/spec/template/spec"

// filledPods are the fields of pods that the cluster fills in.
func filledPods() map[string]any {
	const container = pods + "/containers/*"
	return map[string]any{
		pods + "/restartPolicy":                              "Always",
		pods + "/dnsPolicy":                                  "ClusterFirst",
		pods + "/schedulerName":                              "default-scheduler",
		pods + "/terminationGracePeriodSeconds":              nil,
		container + "/terminationMessagePath":                "/dev/termination-log",
		container + "/terminationMessagePolicy":              "File",
		container + "/securityContext/procMount":             "Default",
		container + "/readinessProbe/successThreshold":       int64(1),
		container + "/readinessProbe/initialDelaySeconds":    int64(0),
		pods + "/volumes/*/emptyDir/medium":                  "",
		pods + "/topologySpreadConstraints/*/minDomains":     nil,
		pods + "/topologySpreadConstraints/*/matchLabelKeys": nil,
	}
}

// filledServices are the fields of Services that the cluster, a load balancer or
// the operator of one fills in.
func filledServices() map[string]any {
	out := map[string]any{"/spec/ports/*/nodePort": nil}
	for _, name := range []string{
		"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy", "externalTrafficPolicy", "sessionAffinity",
		"allocateLoadBalancerNodePorts", "healthCheckNodePort", "loadBalancerClass", "loadBalancerIP", "loadBalancerSourceRanges",
	} {
		out["/spec/"+name] = nil
	}
	return out
}
