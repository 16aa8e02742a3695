// The paper's SystemCall.
public class SystemCall {
    private String callName;

    public String getCallName() { return callName; }
    public void setCallName(String value) { callName = value; }
}
