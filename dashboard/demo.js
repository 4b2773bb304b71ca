// Connect to course analytics
const courseWs = new WebSocket('ws://localhost:8000/realtime/course/68a1e085f965e83b626e215e');
courseWs.onmessage = (event) => {
  const data = JSON.parse(event.data);
  updateCourseAnalytics(data.analytics);
};

// Connect to instructor dashboard
const instructorWs = new WebSocket('ws://localhost:8000/realtime/instructor/689f3b634ccdaf5428b24d62');
instructorWs.onmessage = (event) => {
  const data = JSON.parse(event.data);
  updatePlatformOverview(data.data);
};
