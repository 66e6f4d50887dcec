"""The example monitoring script that users were given, word for word below this head."""

# ruff: noqa: ANN201, I001, I002, INP001, Q000, T201, TID251, W293 - it stays as it is
# mypy: ignore-errors
# fmt: off

import requests
import time

def check_system_health():
    """Check system health and print status"""
    response = requests.get('http://localhost:5001/api/metrics/health')
    health = response.json()
    
    print(f"Status: {health['status']}")
    print(f"Alerts: {health['alerts']}")
    print(f"System: {health['system']}")
    print(f"Application: {health['application']}")
    
    if health['status'] != 'healthy':
        print("\n⚠️  System is not healthy!")
        recommendations = requests.get('http://localhost:5001/api/metrics/recommendations')
        for rec in recommendations.json()['recommendations']:
            print(f"  - {rec}")

if __name__ == '__main__':
    while True:
        check_system_health()
        time.sleep(60)  # Check every minute
