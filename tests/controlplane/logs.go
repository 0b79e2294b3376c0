package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// logs answers what the API server asks a kubelet for when somebody wants a container's log:
// GET /containerLogs/NAMESPACE/POD/CONTAINER?follow=&previous=&tailLines=&limitBytes=&timestamps=
// Only the API server's own client certificate is let in.
type logs struct{ agent *node }

func serveLogs(agent *node, port int, certificate, key, authority string) error {
	trusted, err := os.ReadFile(authority)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(trusted)
	server := http.Server{
		Addr:      "127.0.0.1:" + strconv.Itoa(port),
		Handler:   logs{agent},
		TLSConfig: &tls.Config{ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert},
	}
	return server.ListenAndServeTLS(certificate, key)
}

func (of logs) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	parts := strings.Split(strings.Trim(request.URL.Path, "/"), "/")
	if len(parts) != 4 || parts[0] != "containerLogs" {
		http.Error(answer, "not found", http.StatusNotFound)
		return
	}
	// Not from the cache: whoever asks may have seen a status of the pod that the cache has not got yet.
	pod, err := of.agent.api.CoreV1().Pods(parts[1]).Get(request.Context(), parts[2], metav1.GetOptions{})
	if err != nil {
		http.Error(answer, fmt.Sprintf("pod %q not found", parts[2]), http.StatusNotFound)
		return
	}
	query := request.URL.Query()
	if fault := unavailable(pod, parts[3], query.Get("previous") == "true"); fault != "" {
		http.Error(answer, fault, http.StatusBadRequest)
		return
	}
	text := written(pod, parts[3], query.Get("timestamps") == "true")
	if count, err := strconv.Atoi(query.Get("tailLines")); err == nil {
		text = text[max(0, len(text)-count):]
	}
	whole := strings.Join(text, "")
	if limit, err := strconv.Atoi(query.Get("limitBytes")); err == nil {
		whole = whole[:min(limit, len(whole))]
	}
	answer.Header().Set("Content-Type", "text/plain")
	_, _ = answer.Write([]byte(whole))
	if query.Get("follow") == "true" {
		_ = http.NewResponseController(answer).Flush()
		of.untilGone(request, pod)
	}
}

// untilGone holds a follower as a quiet container would.
func (of logs) untilGone(request *http.Request, pod *v1.Pod) {
	for {
		select {
		case <-request.Context().Done():
			return
		case <-time.After(100 * time.Millisecond):
			if now := of.agent.find(pod.Namespace + "/" + pod.Name); now == nil || now.UID != pod.UID || now.DeletionTimestamp != nil {
				return
			}
		}
	}
}

// unavailable is the reason of a kubelet for not having a log, in its words.
func unavailable(pod *v1.Pod, container string, previous bool) string {
	for _, status := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
		if status.Name != container {
			continue
		}
		if previous && status.LastTerminationState.Terminated == nil {
			return fmt.Sprintf("previous terminated container %q in pod %q not found", container, pod.Name)
		}
		if status.State.Waiting != nil && status.LastTerminationState.Terminated == nil {
			return fmt.Sprintf("container %q in pod %q is waiting to start: %s", container, pod.Name, status.State.Waiting.Reason)
		}
		return ""
	}
	return fmt.Sprintf("container %q in pod %q is not available", container, pod.Name)
}

func written(pod *v1.Pod, container string, timestamps bool) []string {
	text, given := pod.Annotations[logAnnotation]
	if !given {
		text = "started " + container + "\n"
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	lines := strings.SplitAfter(text, "\n")
	lines = lines[:len(lines)-1]
	if timestamps && pod.Status.StartTime != nil {
		for number := range lines {
			at := pod.Status.StartTime.Add(time.Duration(number) * time.Millisecond)
			lines[number] = at.UTC().Format(time.RFC3339Nano) + " " + lines[number]
		}
	}
	return lines
}
