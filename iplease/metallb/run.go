package metallb

import (
	"context"
	"iter"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/moorage-dev/moorage/iplease"
	"github.com/moorage-dev/moorage/iplease/driver"
)

// Run watches the cluster until the context ends or the announcer is closed: it
// mends what others change and tells watchers. It owns the informers' goroutines
// and one that mends.
func (a *Announcer) Run(ctx context.Context) error {
	if err := a.begin(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	own := informers.NewSharedInformerFactoryWithOptions(a.cfg.Client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.LabelSelector = labels.SelectorFromSet(labels.Set{labelInstance: a.cfg.Instance}).String() + "," + labelClaim
	}))
	all := informers.NewSharedInformerFactory(a.cfg.Client, 0)
	metallb := dynamicinformer.NewFilteredDynamicSharedInformerFactory(a.cfg.Dynamic, 0, a.cfg.MetalLB, nil)
	if err := a.handle(queue, own, all, metallb); err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer queue.ShutDown()
		select {
		case <-a.closed:
			cancel()
		case <-ctx.Done():
		}
	})
	own.Start(ctx.Done())
	all.Start(ctx.Done())
	metallb.Start(ctx.Done())
	for a.next(ctx, queue) {
	}
	wg.Wait()
	own.Shutdown()
	all.Shutdown()
	metallb.Shutdown()
	return nil
}

// handle connects events to the queue and to the watchers.
func (a *Announcer) handle(queue workqueue.TypedRateLimitingInterface[string], own, all informers.SharedInformerFactory, metallb dynamicinformer.DynamicSharedInformerFactory) error {
	services := own.Core().V1().Services()
	everyClaim := func(any) {
		list, _ := services.Lister().List(labels.Everything())
		for _, s := range list {
			queue.Add(s.Annotations[annotationClaim])
		}
	}
	byService := func(namespace, name string) {
		if s, err := services.Lister().Services(namespace).Get(name); err == nil {
			a.hub.Publish(s.Annotations[annotationClaim])
		}
	}
	for informer, f := range map[cache.SharedIndexInformer]func(any){
		services.Informer(): func(o any) {
			claim := o.(metav1.Object).GetAnnotations()[annotationClaim]
			queue.Add(claim)
			a.hub.Publish(claim)
		},
		own.Discovery().V1().EndpointSlices().Informer(): func(o any) {
			e := o.(metav1.Object)
			byService(e.GetNamespace(), e.GetLabels()["kubernetes.io/service-name"])
		},
		metallb.ForResource(metallbResource("servicel2statuses")).Informer(): func(o any) {
			status, _, _ := unstructured.NestedStringMap(o.(*unstructured.Unstructured).Object, "status")
			labels := o.(metav1.Object).GetLabels()
			if status == nil && labels == nil {
				return
			}
			byService(labels["metallb.io/service-namespace"], labels["metallb.io/service-name"])
		},
	} {
		if err := listen(informer, f, f); err != nil {
			return err
		}
	}
	// A lease's namespace that appears may be one that a claim waits for.
	return listen(all.Core().V1().Namespaces().Informer(), everyClaim, nil)
}

// listen calls f for what appears and disappears, and g for what changes.
func listen(i cache.SharedIndexInformer, f, g func(any)) error {
	handlers := cache.ResourceEventHandlerFuncs{AddFunc: f, DeleteFunc: func(o any) {
		if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
			o = last.Obj
		}
		f(o)
	}}
	if g != nil {
		handlers.UpdateFunc = func(_, o any) { g(o) }
	}
	_, err := i.AddEventHandler(handlers)
	return err
}

// next mends one claim; false when the queue has ended.
func (a *Announcer) next(ctx context.Context, queue workqueue.TypedRateLimitingInterface[string]) bool {
	text, ended := queue.Get()
	if ended {
		return false
	}
	defer queue.Done(text)
	if err := a.mend(ctx, text); err != nil && ctx.Err() == nil {
		a.cfg.Log.Warn("a claim's objects could not be mended", "claim", text, "err", err)
		queue.AddRateLimited(text)
		return true
	}
	queue.Forget(text)
	return true
}

// mend writes a claim's objects as its anchor says. Without an anchor there is
// nothing that is wanted; what is left is listed and can be withdrawn.
func (a *Announcer) mend(ctx context.Context, text string) error {
	id, err := iplease.ParseClaimID(text)
	if err != nil {
		a.cfg.Log.Warn("a Service names no claim", "annotation", text)
		return nil
	}
	a.applying.Lock()
	defer a.applying.Unlock()
	anchor, err := a.cfg.Client.CoreV1().Services(a.cfg.Namespace).Get(ctx, a.cfg.anchorName(id), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	record := anchor.Annotations[annotationRecord]
	n, err := decode(record)
	if err != nil {
		return err
	}
	return a.write(ctx, n, record)
}

// Watch implements [driver.Watcher]. What others change is seen while
// [Announcer.Run] runs.
func (a *Announcer) Watch(ctx context.Context) iter.Seq2[iplease.ClaimID, error] {
	return func(yield func(iplease.ClaimID, error) bool) {
		inner, cancel := context.WithCancel(ctx)
		defer cancel()
		changes := a.hub.Watch(inner)
		ids, err := a.List(ctx)
		if err != nil {
			if ctx.Err() == nil {
				yield(iplease.ClaimID{}, err)
			}
			return
		}
		for _, id := range ids {
			if !yield(id, nil) {
				return
			}
		}
		for text, err := range changes {
			if err != nil {
				yield(iplease.ClaimID{}, err)
				return
			}
			if id, err := iplease.ParseClaimID(text); err == nil && !yield(id, nil) {
				return
			}
		}
		if ctx.Err() == nil {
			yield(iplease.ClaimID{}, driver.ErrClosed)
		}
	}
}
